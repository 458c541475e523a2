"""Pickles of plain values and uint8 arrays, read without running anything that the file asks for.

NumPy's own unpickling trusts shapes and dtypes. Here its names stand for functions of this module; see
`bitproof.reading.pickles` for what else a pickle may not do.
"""

import reprlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitproof.errors import InputError
from bitproof.reading import Function, Program, UnpicklingError, refusing


class Array:
    """Stands for `numpy.ndarray` in a pickle.

    Attributes:
        values: what the file stored, uint8; empty until it was read.
    """

    def __init__(self) -> None:
        self.values: NDArray[np.uint8] = np.empty(0, np.uint8)

    @property
    def copied(self) -> int:
        """Bytes that were set aside for the values."""
        return self.values.nbytes

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.values = _rebuilt(data, dtype, shape, "F" if fortran else "C")


def read_pickled(path: Path, *, largest: int = 64 * 2**20) -> dict[str, Any]:
    """The dictionary in a pickle of dict, list, tuple, int, str, bytes and uint8 arrays (as `Array`).

    Raises:
        InputError: a file of more than `largest` bytes, that is damaged, or that names anything else.
    """
    size = path.stat().st_size
    if size > largest:
        raise InputError(
            f"{path} has {size:,} bytes",
            rule=f"a batch has at most {largest:,}",
            remedy="Check that this is the official file",
        )
    with (
        refusing(
            path,
            rule="only dict, list, tuple, int, str, bytes and uint8 arrays are read from a pickle",
            remedy="Nothing in the file was run. Use the official file, or the binary layout",
            how="is refused",
        ),
        path.open("rb") as file,
    ):
        stored = Program(file, size, names=_STAND_INS, stateful=(Array, _Bytes)).run()
        if not isinstance(stored, dict):
            raise UnpicklingError(f"it holds a {type(stored).__name__}, not a dict")
        return {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in stored.items()}


class _Bytes:
    """Stands for the dtype uint8; its state holds only a byte order, which bytes do not have."""

    def __setstate__(self, state: Any) -> None:
        pass


def _dtype(code: Any, *_: Any) -> _Bytes:
    if code not in ("u1", b"u1"):
        raise UnpicklingError(f"it holds an array of dtype {reprlib.repr(code)}")
    return _Bytes()


def _rebuilt(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[np.uint8]:
    if not isinstance(dtype, _Bytes) or order != "C":
        raise UnpicklingError("it holds an array that is not uint8 in C order")
    raw = data.encode("latin1") if isinstance(data, str) else bytes(memoryview(data))  # str: from Python 2
    return np.frombuffer(raw, np.uint8).reshape(shape)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    array = Array()
    array.values = _rebuilt(data, dtype, shape, order)
    return array


_STAND_INS = {
    ("numpy", "ndarray"): Function(Array),
    ("numpy", "dtype"): Function(_dtype),
    **{
        (f"numpy.{core}.multiarray", "_reconstruct"): Function(lambda *_: Array())
        for core in ("core", "_core")  # before and since NumPy 2
    },
    **{(f"numpy.{core}.numeric", "_frombuffer"): Function(_from_buffer) for core in ("core", "_core")},  # protocol 5
}
