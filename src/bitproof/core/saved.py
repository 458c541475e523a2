"""Files of `torch.save`, read without `torch.load`: tensors and plain values, every byte compared with its checksum.

`torch.load(weights_only=True)` runs no foreign code either, but it ignores the checksums of the archive (a flipped bit
is another weight), inflates whatever the archive claims, takes a tensor's word for how much is stored of it, and hashes
any key (see `bitproof.reading.pickles`).

Both containers are read: the zip archive (since PyTorch 1.6) of a pickle and one member a storage, and the older row of
pickles with the storages behind them, which has no checksums.
"""

import io
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bitproof import reading
from bitproof.reading import Function, Program, UnpicklingError

_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_PROTOCOL = 1001


def read_saved(path: Path) -> Any:
    """What `torch.save` wrote: tensors on the CPU, and dict, list, tuple, text, bytes and numbers of any depth.

    A dictionary's own attributes (`_metadata` of a state dict) are dropped, and parameters become tensors.

    Raises:
        UnpicklingError: it names anything else.
        Exception: of almost any kind, if it is damaged or no such file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        if magic == b"PK":
            return _read_archive(file, size)
        if magic[:1] == b"\x80":
            return _read_row(file, size)
    raise ValueError("it is no file of torch.save")


@dataclass(frozen=True)
class _Kind:
    """Stands for a class of storages; None = bytes of any type."""

    dtype: torch.dtype | None


@dataclass(frozen=True)
class _Storage:
    """Bytes that tensors share, uint8 [n], and the type that they are stored as."""

    content: Tensor
    kind: _Kind


Find = Callable[[str, int, int], Tensor]
"""The bytes of a storage, uint8, by its key, its length in entries, and the bytes of an entry."""


class _Ordered(dict[Any, Any]):
    """Stands for `OrderedDict`; its attributes are dropped."""

    def __setstate__(self, state: Any) -> None:
        pass


def _read_archive(file: BufferedIOBase, size: int) -> Any:
    archive = reading.opened(file, most=size, inflated=False)
    names = archive.namelist()
    root = next(name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")).removesuffix("data.pkl")
    if f"{root}byteorder" in names and reading.member(archive, f"{root}byteorder") != b"little":
        raise ValueError("its numbers are big-endian")
    contents: dict[str, Tensor] = {}

    def find(key: str, count: int, itemsize: int) -> Tensor:
        if key not in contents:
            stored = reading.member(archive, f"{root}data/{key}")
            contents[key] = torch.frombuffer(stored or bytearray(1), dtype=torch.uint8)[: len(stored)]
        if len(contents[key]) != count * itemsize:
            raise ValueError(f"storage {key!r} has {len(contents[key]):,} bytes for {count:,} entries")
        return contents[key]

    content = bytes(reading.member(archive, f"{root}data.pkl"))
    return _program(io.BytesIO(content), len(content), find).run()


def _read_row(file: BufferedIOBase, size: int) -> Any:
    contents: dict[str, tuple[int, Tensor]] = {}
    left = size

    def find(key: str, count: int, itemsize: int) -> Tensor:
        nonlocal left
        if key not in contents:
            left -= count * itemsize
            if left < 0:
                raise ValueError(f"storage {key!r} claims {count:,} entries")
            contents[key] = count, torch.zeros(count * itemsize, dtype=torch.uint8)  # filled below
        if contents[key][0] != count or len(contents[key][1]) != count * itemsize:
            raise ValueError(f"storage {key!r} has two lengths")
        return contents[key][1]

    program = _program(file, size, find)
    if (program.run(), program.run()) != (_OLD_MAGIC, _OLD_PROTOCOL):
        raise ValueError("it is no file of torch.save")
    if not program.run()["little_endian"]:
        raise ValueError("its numbers are big-endian")
    found, keys = program.run(), program.run()
    if not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(contents):
        raise ValueError("its list of storages is another")
    for key in keys:
        count, content = contents[key]
        if struct.unpack("<q", file.read(8)) != (count,) or file.readinto(content.numpy().data) != len(content):
            raise ValueError(f"storage {key!r} is cut off")
    return found


def _program(file: BufferedIOBase, size: int, find: Find) -> Program:
    def storage(pid: Any) -> _Storage:
        name, kind, key, _, count, *view = pid  # where it lay is of no matter: all goes to the CPU
        if name != "storage" or not isinstance(kind, _Kind) or not isinstance(key, str) or any(view):
            raise UnpicklingError("it names something outside itself that is no storage")
        if type(count) is not int or count < 0:
            raise ValueError(f"storage {key!r} has no length")
        return _Storage(find(key, count, 1 if kind.dtype is None else kind.dtype.itemsize), kind)

    return Program(file, size, names=_STAND_INS, stateful=(_Ordered,), persistent=storage)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *more: Any) -> Tensor:
    """What `_rebuild_tensor_v2` makes; `more` are whether it needs a gradient, and hooks."""
    return _view(storage, storage.kind.dtype, offset, size, stride)


def _tensor_of_type(storage: Any, offset: Any, size: Any, stride: Any, *more: Any) -> Tensor:
    """What `_rebuild_tensor_v3` makes; `more` are the same, and the type."""
    return _view(storage, more[2], offset, size, stride)


def _view(storage: _Storage, dtype: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    if not isinstance(dtype, torch.dtype) or not all(type(n) is int and n >= 0 for n in (offset, *size, *stride)):
        raise UnpicklingError("it holds a tensor of no shape")
    if math.prod(size) * dtype.itemsize > len(storage.content):  # any shape over a few numbers: stride 0
        raise UnpicklingError("it holds a tensor that is not stored in full; weights must be dense")
    return storage.content.view(dtype).as_strided(size, stride, offset)


_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}

_STAND_INS = {
    ("torch._utils", "_rebuild_tensor_v2"): Function(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): Function(_tensor_of_type),
    ("torch._utils", "_rebuild_parameter"): Function(lambda tensor, *_: tensor),
    ("collections", "OrderedDict"): Function(_Ordered),
    ("torch", "Size"): Function(tuple),
    ("torch.storage", "UntypedStorage"): _Kind(None),
    **{
        ("torch", f"{name}Storage"): _Kind(dtype)
        for name, dtype in {
            "Double": torch.float64,
            "Float": torch.float32,
            "Half": torch.float16,
            "BFloat16": torch.bfloat16,
            "Long": torch.int64,
            "Int": torch.int32,
            "Short": torch.int16,
            "Char": torch.int8,
            "Byte": torch.uint8,
            "Bool": torch.bool,
            "ComplexFloat": torch.complex64,
            "ComplexDouble": torch.complex128,
        }.items()
    },
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
}
