"""Any record as text and bytes, and back: plain data as JSON, arrays as compressed NPZ (no pickled objects)."""

import dataclasses
import functools
import io
import json
import marshal
import math
import types
import typing
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from bitproof import reading
from bitproof.reading import refusing
from bitproof.records.base import Record

T = TypeVar("T")

_UNIONS = (types.UnionType, typing.Union)

MOST_BYTES = 2**29
"""Of the arrays of one record. A sequence of 41 frames on all training images of ImageNet has 420 million; what claims
more is no record but a bomb in a few bytes."""

EFFORT = 3
"""Of compression, 1 to 9: photographs take 0.1% more room than at 6, numpy's own, and 40% of its time."""


def pack(record: Record) -> tuple[str, bytes | None]:
    """The record's plain data as JSON, and its arrays as the bytes of an NPZ file (None without any).

    A field called `run` is left out: the store knows it.
    """
    arrays: dict[str, np.ndarray] = {}
    content = json.dumps(_plain(record, "", arrays), allow_nan=False)
    if not arrays:
        return content, None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=EFFORT) as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as part:
                np.lib.format.write_array(part, array, allow_pickle=False)
    return content, buffer.getvalue()


def plain(record: Record) -> dict[str, Any]:
    """The record as JSON types alone, arrays as lists: what an export holds, with what its class calls `DERIVED`."""
    content = plain_data(record)
    return content | {name: getattr(record, name) for name in getattr(record, "DERIVED", ())}


def plain_data(value: Any) -> Any:
    """A dataclass of plain data, arrays and dataclasses as JSON types alone; `unpack` reads it again."""
    return _plain(value, "", None)


_START = 1024
"""Bytes of an array's file that hold its header."""

ALIKE = ("ids", "labels", "digests", "pictures.rows")
"""Arrays that many records of a store have the same of."""


@dataclass(kw_only=True)
class Shared:
    """What records have in common that are read together, so that it is read and held once.

    Attributes:
        arrays: those called `ALIKE`, read-only, by their packed bytes.
        parts: dataclasses inside records that hold no arrays, by their class and content.
        without: the path of an array that is left out; one of zeros that takes no room stands in its place.
    """

    arrays: dict[tuple[str, bytes], np.ndarray] = field(default_factory=dict)
    parts: dict[tuple[type, bytes], Any] = field(default_factory=dict)
    without: str | None = None


def unpack(kind: type[T], content: str, arrays: bytes | None, shared: Shared | None = None) -> T:
    """The record of class `kind` that `pack` packed; with `shared`, what it has in common with others is theirs.

    Raises:
        InputError: anything else; pickled objects are never read.
    """
    with refusing(
        f"a stored {kind.__name__.lower()}",
        rule="it is what bitproof wrote",
        remedy="Run the same command again: it is computed anew",
        how="is damaged",
        absorb=True,
    ):
        return _rebuilt(json.loads(content), kind, "", _read_arrays(arrays, shared or Shared()), shared)


def _read_arrays(blob: bytes | None, shared: Shared) -> dict[str, np.ndarray]:
    if not blob:
        return {}
    with reading.opened(io.BytesIO(blob), most=MOST_BYTES) as archive:
        return {name.removesuffix(".npy"): _read_array(archive, name, shared) for name in archive.namelist()}


def _read_array(archive: zipfile.ZipFile, name: str, shared: Shared) -> np.ndarray:
    path = name.removesuffix(".npy")
    if path == shared.without:
        with archive.open(name) as stored:
            return reading.stand_in(stored.read(_START))
    if path not in ALIKE:
        return reading.unpacked(reading.member(archive, name))
    key = path, reading.packed_member(archive, name)
    if key not in shared.arrays:
        found = reading.unpacked(reading.member(archive, name))
        found.flags.writeable = False
        shared.arrays[key] = found
    return shared.arrays[key]


def _plain(value: Any, path: str, arrays: dict[str, np.ndarray] | None) -> Any:
    """The value as JSON types; arrays are put into `arrays` by their path, or where there is none, written as lists."""
    if dataclasses.is_dataclass(value):
        fields = (f.name for f in dataclasses.fields(value) if f.name != "run")
        return {name: _plain(getattr(value, name), f"{path}.{name}".strip("."), arrays) for name in fields}
    if isinstance(value, np.ndarray):
        if arrays is None:
            return _finite(value.tolist())
        arrays[path] = value
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(v, f"{path}.{key}".strip("."), arrays) for key, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v, f"{path}.{i}", arrays) for i, v in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _finite(value: Any) -> Any:
    """Numbers that JSON has no form for as text, in lists of any depth."""
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _rebuilt(value: Any, hint: Any, path: str, arrays: Mapping[str, np.ndarray], shared: Shared | None = None) -> Any:
    """The value in the type that the hint asks for."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if path in arrays:
        return _fitting(arrays[path], args if origin in _UNIONS else (hint,), path)
    if origin in _UNIONS:
        if value is None:
            return None
        return _rebuilt(value, next(a for a in args if a is not type(None)), path, arrays)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if shared is not None and path and not any(name.startswith(f"{path}.") for name in arrays):
            key = hint, marshal.dumps(value)
            if key not in shared.parts:
                shared.parts[key] = _rebuilt(value, hint, path, arrays)
            return shared.parts[key]
        hints = _hints(hint)
        fields = {f.name for f in dataclasses.fields(hint)} - {"run"}
        if not isinstance(value, dict) or not value.keys() <= fields:
            raise ValueError(f"{path or 'it'} has not the fields of a {hint.__name__}")
        return hint(**{k: _rebuilt(v, hints[k], f"{path}.{k}".strip("."), arrays, shared) for k, v in value.items()})
    if origin in (tuple, dict, Mapping) and not isinstance(value, list if origin is tuple else dict):
        raise ValueError(f"{path} is a {type(value).__name__}")
    if origin is tuple and args[0] is str and all(type(v) is str for v in value):
        return tuple(value)  # a thousand names of classes, at once
    if origin is tuple:
        return tuple(_rebuilt(v, args[0], f"{path}.{i}", arrays) for i, v in enumerate(value))
    if isinstance(value, dict) and (origin is not None or hint is Any):
        inner = args[1] if len(args) == 2 else Any
        return {k: _rebuilt(v, inner, f"{path}.{k}".strip("."), arrays) for k, v in value.items()}
    return _checked(value, hint, path)


def _fitting(array: np.ndarray, hints: tuple[Any, ...], path: str) -> np.ndarray:
    """The array, which has to be of the kind and the number of axes that one of the hints names."""
    if not _fits(array.dtype, array.ndim, hints):
        raise ValueError(f"{path} is {array.dtype} {list(array.shape)}")
    return array


@functools.cache
def _fits(dtype: np.dtype[Any], axes: int, hints: tuple[Any, ...]) -> bool:
    """Whether such arrays are what one of the hints names, of which none says how long an axis is."""
    sample = np.empty((1,) * axes, dtype)
    return any(isinstance(hint, type) and isinstance(sample, hint) for hint in hints)


def _checked(value: Any, hint: Any, path: str) -> Any:
    """The value, which has to be of the class that the hint is, if it is one."""
    if hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return float(value)
    if hint is Any:
        return value
    if isinstance(hint, type) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise ValueError(f"{path} is {str(value)[:40]!r}, not of type {hint.__name__}")
    return value
