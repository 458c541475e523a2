"""Zip archives (torch.save, NPZ) whose directory is looked at before anything is read or inflated."""

import zipfile
from io import BufferedIOBase


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
        KeyError, ValueError: it is missing or cut off.
    """
    entry, file = archive.getinfo(name), archive.fp
    assert file is not None
    file.seek(entry.header_offset + 26)  # of the local header: the lengths of its name and its further fields
    lengths = file.read(4)
    file.seek(int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little"), 1)
    content = file.read(entry.compress_size)
    if len(content) < entry.compress_size:
        raise ValueError(f"{name!r} is cut off")
    return content


def member(archive: zipfile.ZipFile, name: str) -> bytearray:
    """The content of a member, with as many bytes as the directory says and the checksum that it says.

    Raises:
        KeyError, ValueError, zipfile.BadZipFile, zlib.error: it is missing, shorter, or damaged.
    """
    entry = archive.getinfo(name)
    content = bytearray()
    with archive.open(entry) as stored:  # read(-1) would inflate it all, whatever the directory says
        while part := stored.read(min(2**20, entry.file_size - len(content))):
            content += part
    if len(content) < entry.file_size:
        raise ValueError(f"{name!r} is cut off")
    return content
