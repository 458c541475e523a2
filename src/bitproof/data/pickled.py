"""Pickles of plain values and uint8 arrays, read without running anything that the file asks for.

A pickle is a program: it names functions and calls them. Here every name it may use stands for a
function of this module, and every other name is refused, so neither foreign code nor NumPy's own
unpickling (which trusts shapes and dtypes) ever runs on the file.

It runs on the machine that Python's library has in Python: the one in C sets memory aside for whatever length or
position a file names, gigabytes for a few bytes.
"""

import io
import pickle
import reprlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bitproof.errors import InputError

_STEPS = 2_000_000  # reads from the file; the largest official one takes half a million


class Array:
    """Stands for `numpy.ndarray` in a pickle.

    Attributes:
        values: what the file stored, uint8; empty until it was read.
    """

    def __init__(self) -> None:
        self.values: NDArray[np.uint8] = np.empty(0, np.uint8)

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
    try:
        stored = _Reader(_Tape(path.read_bytes()), encoding="latin1").load()
        if not isinstance(stored, dict):
            raise pickle.UnpicklingError(f"it holds a {type(stored).__name__}, not a dict")
    except Exception as error:  # damaged pickles make the machine fail in any way
        raise InputError(
            f"{path} is refused ({error or type(error).__name__})",
            rule="only dict, list, tuple, int, str, bytes and uint8 arrays are read from a pickle",
            remedy="Nothing in the file was run. Use the official file, or the binary layout",
        ) from error
    return {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in stored.items()}


class _Tape(io.BytesIO):
    """A program, and an end to it: every instruction is read by itself, and each may take 100 bytes of memory."""

    steps = 0

    def read(self, size: int | None = -1) -> bytes:
        self.steps += 1
        if self.steps > _STEPS:
            raise pickle.UnpicklingError(f"it has more than {_STEPS:,} steps")
        content = super().read(size)
        if size is not None and len(content) < size:
            raise pickle.UnpicklingError("Ran out of input, it is truncated")
        return content


_Machine: Any = pickle._Unpickler


class _Reader(_Machine):
    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}")
        return _STAND_INS[module_name, global_name]

    def _skip_frame(self) -> None:
        self.read(8)  # how much could be read ahead

    def _read_bytearray(self) -> None:
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))  # the library's own sets memory aside before it reads

    dispatch: ClassVar = {
        **_Machine.dispatch,
        pickle.FRAME[0]: _skip_frame,
        pickle.BYTEARRAY8[0]: _read_bytearray,
    }


class _Function:
    """A function that a pickle may call but, with slots and this `__setstate__`, not alter."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it sets the state of a function")


class _Bytes:
    """Stands for the dtype uint8; its state holds only a byte order, which bytes do not have."""

    def __setstate__(self, state: Any) -> None:
        pass


def _dtype(code: Any, *_: Any) -> _Bytes:
    if code not in ("u1", b"u1"):
        raise pickle.UnpicklingError(f"it holds an array of dtype {reprlib.repr(code)}")
    return _Bytes()


def _rebuilt(data: Any, dtype: Any, shape: Any, order: Any) -> NDArray[np.uint8]:
    if not isinstance(dtype, _Bytes) or order != "C":
        raise pickle.UnpicklingError("it holds an array that is not uint8 in C order")
    raw = data.encode("latin1") if isinstance(data, str) else bytes(memoryview(data))  # str: from Python 2
    return np.frombuffer(raw, np.uint8).reshape(shape)


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    array = Array()
    array.values = _rebuilt(data, dtype, shape, order)
    return array


def _encode(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes to {reprlib.repr(encoding)}")
    return text.encode("latin1")


_STAND_INS = {
    ("_codecs", "encode"): _Function(_encode),  # how Python 3 writes bytes in protocols 0 to 2
    ("numpy", "ndarray"): _Function(Array),
    ("numpy", "dtype"): _Function(_dtype),
    **{
        (f"numpy.{core}.multiarray", "_reconstruct"): _Function(lambda *_: Array())
        for core in ("core", "_core")  # before and since NumPy 2
    },
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Function(_from_buffer) for core in ("core", "_core")},  # protocol 5
}
