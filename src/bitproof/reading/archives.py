"""Zip archives (torch.save, NPZ) whose directory is looked at before anything is read or inflated."""

import zipfile
import zlib
from io import BufferedIOBase

_LOCAL, _UTF8 = 30, 0x800
"""Bytes before a member's name, and the flag that the name is UTF-8."""


def opened(file: BufferedIOBase, *, most: int, inflated: bool = True) -> zipfile.ZipFile:
    """The archive in `file`, with a directory that claims neither too much nor one thing twice.

    Args:
        file: at its start.
        most: bytes of all members together.
        inflated: whether members may be compressed; those of torch.save never are.

    Raises:
        ValueError: it claims more, holds members of one name, encrypted ones, or a compression without a bound.
        zipfile.BadZipFile: it is no archive.
    """
    archive = zipfile.ZipFile(file)
    members = archive.infolist()
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if inflated else (zipfile.ZIP_STORED,)
    if any(entry.compress_type not in kinds or entry.flag_bits & 1 for entry in members):
        raise ValueError("its members are compressed or encrypted in another way")
    if not inflated and any(entry.file_size != entry.compress_size for entry in members):
        raise ValueError("its directory contradicts itself")
    if (claimed := sum(entry.file_size for entry in members)) > most:
        raise ValueError(f"its members claim {claimed:,} bytes, and {most:,} are the most")
    if len({entry.filename for entry in members}) < len(members):
        raise ValueError("two of its members have one name")
    return archive


def packed_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a member as it lies in the archive, without inflating or checking it.

    Raises:
        KeyError, ValueError, zipfile.BadZipFile: it is missing, cut off, or another one than the directory says.
    """
    entry, file = archive.getinfo(name), archive.fp
    assert file is not None
    file.seek(entry.header_offset)
    header = file.read(_LOCAL)
    own = entry.orig_filename.encode("utf-8" if entry.flag_bits & _UTF8 else "cp437")
    if header[:4] != b"PK\3\4" or file.read(int.from_bytes(header[26:28], "little")) != own:
        raise zipfile.BadZipFile(f"{name!r} is not where the directory says")
    file.seek(int.from_bytes(header[28:30], "little"), 1)
    content = file.read(entry.compress_size)
    if len(content) < entry.compress_size:
        raise ValueError(f"{name!r} is cut off")
    return content


def member(archive: zipfile.ZipFile, name: str) -> bytearray:
    """The content of a member, with as many bytes as the directory says and the checksum that it says.

    Raises:
        KeyError, ValueError, zipfile.BadZipFile, zlib.error: it is missing, shorter, or damaged.
    """
    entry, packed = archive.getinfo(name), packed_member(archive, name)
    content = packed[: entry.file_size]
    if entry.compress_type == zipfile.ZIP_DEFLATED:  # no more than is said, whatever there is
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, entry.file_size) if entry.file_size else b""
    if len(content) < entry.file_size:
        raise ValueError(f"{name!r} is cut off")
    if zlib.crc32(content) != entry.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {name!r}")
    return bytearray(content)
