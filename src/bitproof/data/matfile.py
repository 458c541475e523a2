"""Matrices in MATLAB 5 files, read without trusting what the file says of itself.

A reader of the whole format makes objects and functions of MATLAB, and buffers as large as a file claims. Here one
matrix of numbers is looked for by name; every other variable is stepped over, and memory is bounded.

The format (MathWorks, "MAT-File Format", chapter 1): a header of 128 bytes, then elements of an 8-byte tag (type and
length) and content. A variable is an element of elements: flags, dimensions, name, values; mostly it is compressed by
zlib. Values lie in Fortran order, so the first examples along the last axis lie in front.
"""

import math
import struct
import zlib
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bitproof.errors import InputError

LARGEST = 2**28
"""Bytes of a matrix; the training images of SVHN have 225 million."""

_MOST = 16  # variables in a file
_CHUNK = 2**18  # bytes read at a time
_MATRIX, _COMPRESSED = 14, 15  # element types; the numbers are below
_NUMBERS = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8", 13: "<u8"}
_CLASSES = range(6, 16)  # double to uint64; before come cells, structures, objects, text and sparse, behind functions
_COMPLEX = 0x0800


class _Damaged(Exception):
    """What is wrong with a file."""


def read_matrix(path: Path, name: str, *, first: int | None = None) -> NDArray[Any]:
    """The matrix of numbers called `name`, as stored: [a, ..., n], or its first so many entries along the last axis.

    Raises:
        InputError: a file that is damaged, of another version, has no such variable, or where it is no real matrix of
            numbers or larger than LARGEST bytes.
    """
    try:
        with path.open("rb") as file:
            return _find(file, path.stat().st_size, name, first)
    except _Damaged as error:
        raise InputError(
            f"{path} is refused ({error})",
            rule=f"a MATLAB 5 file with the matrix {name!r} is needed",
            remedy="Nothing in the file was run. Use the official file, or save the matrices anew with -v7",
        ) from error


@dataclass
class _Source:
    """The next bytes of one element; `inflater` is None where they are stored as they are."""

    file: BinaryIO
    left: int  # stored bytes that belong to the element
    inflater: Any = None
    ready: bytes = b""  # inflated but not yet taken

    def take(self, count: int) -> bytearray:
        """Exactly so many bytes."""
        taken = bytearray()
        while len(taken) < count:
            part = self._some(count - len(taken))
            if not part:
                raise _Damaged("it is cut off")
            taken += part
        return taken

    def finish(self) -> None:
        """Nothing but padding to 8 bytes may follow; of compressed content, the checksum is compared."""
        padding = 0
        while part := self._some(8):
            padding += len(part)
            if padding > 7:
                raise _Damaged("a variable is longer than its shape")
        if self.inflater is not None and not self.inflater.eof:
            raise _Damaged("it is cut off")

    def _some(self, most: int) -> bytes:
        """At least one byte and at most so many; none at the end."""
        if self.inflater is None:
            return self._stored(min(most, _CHUNK))
        while not self.ready and not self.inflater.eof:
            stored = self.inflater.unconsumed_tail or self._stored(_CHUNK)
            try:
                self.ready = self.inflater.decompress(stored, _CHUNK)
            except zlib.error as error:
                raise _Damaged(f"its compression is damaged, {error}") from error
            if not stored and not self.ready:
                break
        part, self.ready = self.ready[:most], self.ready[most:]
        return part

    def _stored(self, most: int) -> bytes:
        part = self.file.read(min(most, self.left))
        self.left -= len(part)
        return part


def _find(file: BinaryIO, size: int, name: str, first: int | None) -> NDArray[Any]:
    header = file.read(128)
    if header.startswith(b"MATLAB 7.3"):
        raise _Damaged("it is of version 7.3, an HDF5 file")
    if len(header) < 128 or header[124:] != b"\0\1IM":
        raise _Damaged("it has no header of a little-endian MATLAB 5 file")
    for _ in range(_MOST):
        start = file.tell()
        if start == size:
            break
        tag = file.read(8)
        if len(tag) < 8:
            raise _Damaged("it is cut off")
        kind, length = struct.unpack("<II", tag)
        if kind not in (_MATRIX, _COMPRESSED) or start + 8 + length > size:
            raise _Damaged("it is cut off" if kind in (_MATRIX, _COMPRESSED) else f"it holds an element of type {kind}")
        source = _Source(file, length)
        if kind == _COMPRESSED:
            source.inflater = zlib.decompressobj()
            if struct.unpack("<I4x", source.take(8))[0] != _MATRIX:
                raise _Damaged("it has compressed content that is no variable")
        matrix = _variable(source, name, first)
        if matrix is not None:
            return matrix
        file.seek(start + 8 + length)
    raise _Damaged(f"it has no variable {name!r} among its first {_MOST}")


def _variable(source: _Source, name: str, first: int | None) -> NDArray[Any] | None:
    """The matrix in an element, or None where it has another name."""
    flags = struct.unpack("<II", _part(source, 6, (8,)))[0]
    dimensions = np.frombuffer(_part(source, 5, range(8, 33, 4)), "<i4").tolist()
    if _part(source, 1, range(64)) != name.encode():
        return None
    if flags & 0xFF not in _CLASSES or flags & _COMPLEX:
        raise _Damaged(f"{name!r} is no matrix of real numbers")
    kind, length, packed = _tag(source)
    size = np.dtype(_NUMBERS[kind]).itemsize if kind in _NUMBERS else 0
    if min(dimensions) < 1 or length != math.prod(dimensions) * size:
        raise _Damaged(f"{name!r} has {length:,} bytes of type {kind} for the shape {dimensions}")
    if length > LARGEST:
        raise _Damaged(f"{name!r} has {length:,} bytes, and {LARGEST:,} are the most")
    kept = [*dimensions[:-1], dimensions[-1] if first is None else min(first, dimensions[-1])]
    content = source.take(math.prod(kept) * size) if packed is None else packed
    if kept == dimensions:
        source.finish()
    return np.frombuffer(content, _NUMBERS[kind], math.prod(kept)).reshape(kept, order="F")


def _part(source: _Source, kind: int, lengths: Container[int]) -> bytes | bytearray:
    """The content of the next element, which must be of this kind and one of these lengths."""
    found, length, packed = _tag(source)
    if found != kind or length not in lengths:
        raise _Damaged(f"a variable has {length:,} bytes of type {found} where type {kind} is due")
    return source.take(length + -length % 8)[:length] if packed is None else packed


def _tag(source: _Source) -> tuple[int, int, bytes | bytearray | None]:
    """Type, length and, where at most 4 bytes of content are packed into the tag itself, these."""
    tag = source.take(8)
    kind, length = struct.unpack("<II", tag)
    if kind < 2**16:
        return kind, length, None
    kind, length = struct.unpack("<HH4x", tag)
    if length > 4:
        raise _Damaged(f"a tag claims to hold {length:,} bytes")
    return kind, length, tag[4 : 4 + length]
