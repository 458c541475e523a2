"""Any record as text and bytes, and back: plain data as JSON, arrays as compressed NPZ (no pickled objects)."""

import dataclasses
import functools
import io
import json
import math
import types
import typing
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from bitproof.errors import InputError
from bitproof.records.base import Record

T = TypeVar("T")

MOST_BYTES = 2**33
"""Of the arrays of one record. What claims more is no record: a bomb in a few bytes."""


def pack(record: Record) -> tuple[str, bytes | None]:
    """The record's plain data as JSON, and its arrays as the bytes of an NPZ file (None without any).

    A field called `run` is left out: the store knows it.
    """
    arrays: dict[str, np.ndarray] = {}
    content = json.dumps(_plain(record, "", arrays), allow_nan=False)
    if not arrays:
        return content, None
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)  # pyright: ignore - pyright takes names for options
    return content, buffer.getvalue()


def plain(record: Record) -> dict[str, Any]:
    """The record as JSON types alone, arrays as lists: what an export holds, with what its class calls `DERIVED`."""
    content = _plain(record, "", None)
    return content | {name: getattr(record, name) for name in getattr(record, "DERIVED", ())}


def unpack(kind: type[T], content: str, arrays: bytes | None) -> T:
    """The record of class `kind` that `pack` packed.

    Raises:
        InputError: anything else; pickled objects are never read.
    """
    try:
        return _rebuilt(json.loads(content), kind, "", _read_arrays(arrays))
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        IndexError,
        RecursionError,
        OSError,
        EOFError,
        NotImplementedError,
        MemoryError,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:
        reason = error.what if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(
            f"a stored {kind.__name__.lower()} is damaged ({reason})",
            rule="it is what bitproof wrote",
            remedy="Restore the store from a copy, or run the same command with a new one",
        ) from error


def _read_arrays(blob: bytes | None) -> dict[str, np.ndarray]:
    if not blob:
        return {}
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        claimed = sum(entry.file_size for entry in archive.infolist())
    if claimed > MOST_BYTES:
        raise ValueError(f"its arrays claim {claimed:,} bytes")
    with np.load(io.BytesIO(blob), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


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


def _rebuilt(value: Any, hint: Any, path: str, arrays: Mapping[str, np.ndarray]) -> Any:
    """The value in the type that the hint asks for."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if path in arrays:
        return arrays[path]
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _rebuilt(value, next(a for a in args if a is not type(None)), path, arrays)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = _hints(hint)
        fields = {f.name for f in dataclasses.fields(hint)} - {"run"}
        if not isinstance(value, dict) or not value.keys() <= fields:
            raise ValueError(f"{path or 'it'} has not the fields of a {hint.__name__}")
        return hint(**{k: _rebuilt(v, hints[k], f"{path}.{k}".strip("."), arrays) for k, v in value.items()})
    if origin is tuple and isinstance(value, list):
        return tuple(_rebuilt(v, args[0], f"{path}.{i}", arrays) for i, v in enumerate(value))
    if isinstance(value, dict):
        inner = args[1] if len(args) == 2 else Any
        return {k: _rebuilt(v, inner, f"{path}.{k}".strip("."), arrays) for k, v in value.items()}
    return _checked(value, hint, path)


def _checked(value: Any, hint: Any, path: str) -> Any:
    """The value, which has to be of the plain type that the hint names."""
    if hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str, bool) and type(value) is not hint:
        raise ValueError(f"{path} is {str(value)[:40]!r}, not of type {hint.__name__}")
    if value is None and hint not in (None, type(None), Any):
        raise ValueError(f"{path} is missing")
    return value
