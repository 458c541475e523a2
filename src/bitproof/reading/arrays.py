"""Arrays in NumPy's format (.npy), whose header is compared with what is there before memory is set aside."""

import io
import math
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray


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


def _header(file: BufferedIOBase, size: int) -> tuple[np.dtype[Any], tuple[int, ...], Any]:
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"it is of version {version} of the format")
    shape, fortran, dtype = readers[version](file)
    if dtype.kind not in "biuf":
        raise ValueError(f"it holds {str(dtype)[:40]}, not numbers")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"its header says {dtype!s} {list(shape)}, and {size - file.tell():,} bytes follow")
    return dtype, shape, "F" if fortran else "C"
