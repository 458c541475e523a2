"""Arrays in NumPy's format (.npy), whose header is compared with what is there before memory is set aside."""

import functools
import io
import math
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_LENGTHS = {(1, 0): 2, (2, 0): 4}
"""Bytes that say how long a header is, by version."""

_LONGEST = 2**16
"""Of a header; NumPy itself refuses one of more than 10,000."""


def mapped(path: Path) -> NDArray[Any]:
    """The array of numbers in a file; it stays on the disk until its entries are asked for.

    Raises:
        ValueError: another size than the header says, or no array of numbers; and what NumPy raises on damage.
    """
    with path.open("rb") as file:
        dtype, shape, order = _header(file, path.stat().st_size)
        return np.memmap(path, dtype, "r", file.tell(), shape, order)


def unpacked(content: bytes | bytearray) -> NDArray[Any]:
    """The array of numbers in the bytes of a file.

    Raises:
        ValueError: as `mapped`.
    """
    file = io.BytesIO(content)
    dtype, shape, order = _header(file, len(content))
    return np.frombuffer(content, dtype, math.prod(shape), file.tell()).reshape(shape, order=order)


def stand_in(start: bytes) -> NDArray[Any]:
    """Zeros of the type and shape that the first bytes of a file say, which take no memory.

    Raises:
        ValueError: as `mapped`.
    """
    dtype, shape, _ = _said(io.BytesIO(start))
    return np.broadcast_to(np.zeros((), dtype), shape)


def _header(file: BufferedIOBase, size: int) -> tuple[np.dtype[Any], tuple[int, ...], Any]:
    dtype, shape, order = _said(file)
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"its header says {dtype!s} {list(shape)}, and {size - file.tell():,} bytes follow")
    return dtype, shape, order


def _said(file: BufferedIOBase) -> tuple[np.dtype[Any], tuple[int, ...], Any]:
    """What the header says; the file is behind it afterwards."""
    version = npy.read_magic(file)
    if version not in _LENGTHS:
        raise ValueError(f"it is of version {version} of the format")
    start = file.read(_LENGTHS[version])
    shape, fortran, dtype = _parsed(version, start + file.read(min(int.from_bytes(start, "little"), _LONGEST)))
    if dtype.kind not in "biuf":
        raise ValueError(f"it holds {str(dtype)[:40]}, not numbers")
    return dtype, shape, "F" if fortran else "C"


@functools.lru_cache(maxsize=256)
def _parsed(version: tuple[int, int], header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """What a header says: records have thousands of arrays with a few headers, and NumPy reads them as Python code."""
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return read(io.BytesIO(header))
