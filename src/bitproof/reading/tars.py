"""Tar archives, walked through by their headers, so that any member can be read on its own afterwards.

The headers are taken apart by Python's `tarfile`, the walk is made here: `tarfile` reads as much of an extended header
as it claims to have, and in older versions walks in a circle where a size is negative (CVE-2025-8194).
"""

import tarfile
from io import BufferedIOBase
from typing import NamedTuple

_BLOCK = 512
_LONGEST = 2**20  # bytes of an extended header, which holds a name and a few numbers
_PADDING = 2**16  # zeros that writers append, to fill a record

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\3\4": "zip",
}
"""First bytes of files that are no tar."""


class Member(NamedTuple):
    """One entry: its content is the `size` bytes from `start` on. `plain` is false of links, devices and other entries
    that are no files and no folders."""

    name: str
    start: int
    size: int
    plain: bool


def members(file: BufferedIOBase, size: int) -> list[Member]:
    """The entries of a tar archive but for its folders, in order.

    Args:
        file: at its start.
        size: of the file, in bytes.

    Raises:
        ValueError: it is compressed, cut off, or no tar; it has files with holes, or more behind its end.
        tarfile.HeaderError: a header that is damaged.
    """
    found: list[Member] = []
    name, extended = "", {}
    at = 0
    while True:
        file.seek(at)
        header = file.read(_BLOCK)
        if not at and (packer := next((word for magic, word in _PACKED.items() if header.startswith(magic)), None)):
            raise ValueError(f"it is compressed by {packer}")
        if header == bytes(_BLOCK):
            if any(file.read(_PADDING)):
                raise ValueError(f"something follows its end at byte {at:,}, such as another archive")
            return found
        if len(header) < _BLOCK:
            raise ValueError(f"it is cut off after {size:,} bytes")
        entry = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        start, at = at + _BLOCK, at + _BLOCK
        length = int(extended.get("size", entry.size))
        if entry.isreg() or entry.type not in tarfile.SUPPORTED_TYPES or entry.type in _EXTENDED:
            if not 0 <= length <= size - start:
                raise ValueError(f"{entry.name!r} claims {length:,} bytes, and it is cut off after {size - start:,}")
            at += -(-length // _BLOCK) * _BLOCK
        if entry.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in extended):
            raise ValueError(f"{entry.name!r} is stored with holes")
        if entry.type in _EXTENDED:
            if length > _LONGEST:
                raise ValueError(f"a header claims {length:,} bytes")
            content = file.read(length)
            if entry.type == tarfile.GNUTYPE_LONGNAME:
                name = content.rstrip(b"\0").decode("utf-8", "surrogateescape")
            elif entry.type != tarfile.GNUTYPE_LONGLINK:
                extended = _fields(content)
            continue
        if not entry.isdir() and entry.type != tarfile.XGLTYPE:
            found.append(Member(extended.get("path", name or entry.name), start, length, entry.isreg()))
        name, extended = "", {}


_EXTENDED = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


def _fields(content: bytes) -> dict[str, str]:
    """What an extended header of POSIX says of the next entry: lines of `LENGTH KEY=VALUE`."""
    fields: dict[str, str] = {}
    at = 0
    while at < len(content):
        length = content[at : at + 20].partition(b" ")[0]
        line = content[at : at + int(length)]
        if not length.isdigit() or len(line) < int(length) or not line.endswith(b"\n"):
            raise ValueError("an extended header is damaged")
        key, _, value = line[len(length) + 1 : -1].decode("utf-8", "surrogateescape").partition("=")
        fields[key] = value
        at += len(line)
    return fields
