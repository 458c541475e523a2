"""Settings as plain data and back."""

import dataclasses
import functools
import hashlib
import json
import math
import reprlib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bitproof.errors import InputError
from bitproof.settings.source import is_own, revision_of, source_of

T = TypeVar("T")

_INIT_ONLY = dataclasses._FIELD_INITVAR  # pyright: ignore - the module has no public name for it

FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, functools.partial)
"""What a field of a setting can hold as a function. Other callables fit as the function of a partial."""

_PLAIN = {bool: (bool,), int: (int,), float: (float, int), str: (str,)}
"""Which types a description has for a field of a plain type."""

_WORDS = {math.inf: "inf", -math.inf: "-inf"}
"""Numbers that JSON has no form for."""


def describe(setting: Any, *, sources: bool = False) -> dict[str, Any]:
    """Plain data (JSON types only) that holds the class of `setting` and every field.

    Args:
        setting: a dataclass, with fields that are numbers, text, paths, None, settings, functions, or tuples or
            dictionaries of these. A function cannot be built again from its description.
        sources: also hold a hash of the code of classes that are not bitproof's, so that an edited one is another, and
            the revision of those that are, from the second on.

    Raises:
        InputError: something that is no dataclass, or a field that plain data cannot hold.

    Example:
        >>> from bitproof.attacks import Noise
        >>> describe(Noise(eps=1))
        {'type': 'Noise', 'norm': 'linf', 'eps': 1.0, 'draws': 1}
    """
    if not dataclasses.is_dataclass(setting) or isinstance(setting, type):
        raise InputError(
            f"{setting!r} is no setting",
            rule="a setting is an instance of a dataclass: what is not among its fields would be lost with the result",
            remedy="Put @dataclass(frozen=True, kw_only=True) above its class and declare its arguments as fields",
        )
    kind = type(setting)
    _check_declared(kind)
    described: dict[str, Any] = {"type": type_name(kind)}
    if sources and not is_own(kind):
        described["source"] = source_of(kind)[:12]
    elif sources and revision_of(kind) > 1:
        described["source"] = f"revision {revision_of(kind)}"
    hints = _hints(kind)
    for field in dataclasses.fields(setting):
        value = getattr(setting, field.name)
        if hints.get(field.name) is float and type(value) is int:
            value = float(value)  # 1 and 1.0 are one setting
        described[field.name] = _plain(value, f"{field.name} of {kind.__name__}", sources)
    return described


def build(kind: type[T], description: Mapping[str, Any]) -> T:
    """The setting that `describe` described.

    Args:
        kind: its class, or one that it derives from.
        description: what `describe` returned, also by way of JSON.

    Raises:
        InputError: a foreign description.
    """
    fields = {name: value for name, value in description.items() if name not in ("type", "source")}
    found = next((c for c in _concrete(kind) if type_name(c) == description.get("type")), None)
    known = {f.name: f for f in dataclasses.fields(found or kind)}  # type: ignore[arg-type]
    if found is None or not fields.keys() <= known.keys():
        raise InputError(
            f"{dict(description)!r} does not describe a {kind.__name__}",
            rule=f"its fields are {', '.join(sorted(known))}",
            remedy="Use a file that this version of bitproof wrote; of a class of your own, import its module first",
        )
    hints = _hints(found)
    return found(**{name: _rebuilt(value, hints.get(name)) for name, value in fields.items() if known[name].init})


def type_name(kind: type) -> str:
    """What a description calls a class: its name, and its module too where it is not bitproof's."""
    return kind.__name__ if is_own(kind) else f"{kind.__module__}:{kind.__qualname__}"


def digest(*parts: Any) -> str:
    """A 32-digit hexadecimal BLAKE2b hash of plain data, equal for equal data on every machine."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@functools.cache
def _check_declared(kind: type) -> None:
    """Refuse a class whose arguments are not all among its fields: they would be lost with the result."""
    first = next(c for c in kind.__mro__ if "__init__" in vars(c))
    undeclared = "__dataclass_params__" not in vars(first)
    pseudo = [f.name for f in vars(kind).get("__dataclass_fields__", {}).values() if f._field_type is _INIT_ONLY]
    if (undeclared and "__init__" in vars(first) and first is not object) or pseudo:
        raise InputError(
            f"{kind.__name__} takes arguments that are no fields"
            + (f" ({', '.join(pseudo)})" if pseudo else f" (its __init__ is {first.__name__}'s own)"),
            rule="what is not among the fields of a setting would be lost with the result",
            remedy="Put @dataclass(frozen=True, kw_only=True) above the class and declare its arguments as fields",
        )


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of the fields; none where they name what only the place of the class's definition knows."""
    try:
        return typing.get_type_hints(kind)
    except NameError:
        return {}


def _concrete(kind: type) -> Iterator[type]:
    """The class and all that derive from it, as far as they are imported."""
    if dataclasses.is_dataclass(kind):
        yield kind
    for derived in type.__subclasses__(kind):
        yield from _concrete(derived)


def _plain(value: Any, what: str, sources: bool) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return describe(value, sources=sources)
    if isinstance(value, (tuple, list)):
        return [_plain(v, what, sources) for v in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(v, what, sources) for key, v in value.items()}
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, FUNCTIONS):
        name = getattr(value, "__qualname__", "partial")
        return f"{value.__module__}:{name}" + (f" {source_of(value)[:12]}" if sources else "")
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if isinstance(value, float):
        return _WORDS.get(value, float(value))  # NumPy's float64 is a float, and JSON should not see the difference
    if isinstance(value, np.integer):
        return int(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise InputError(
        f"{what} is {value!r}",
        rule="a setting holds numbers, text, paths, None, settings, and tuples or dictionaries of these",
        remedy="Keep what is not plain out of the fields",
    )


def _rebuilt(value: Any, hint: Any) -> Any:
    """The value in the type that the hint asks for: JSON has lists for tuples, text for paths and infinity."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _one_of(value, args)
    if isinstance(value, Mapping):
        if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or "type" in value):
            return build(hint, value)
        return {key: _rebuilt(v, args[1] if args else Any) for key, v in value.items()}
    if isinstance(value, list):
        hints = args if origin is tuple and args and args[-1] is not Ellipsis else args[:1] * len(value)
        return tuple(_rebuilt(v, h) for v, h in zip(value, hints or [Any] * len(value), strict=True))
    if hint is float and isinstance(value, str):
        return float(value)
    if hint in _PLAIN and type(value) not in _PLAIN[hint]:
        raise InputError(
            f"{reprlib.repr(value)} in a description",
            rule=f"the field is of type {hint.__name__}",
            remedy="Use a file that this version of bitproof wrote",
        )
    return Path(value) if hint is Path and isinstance(value, str) else value


def _one_of(value: Any, hints: tuple[Any, ...]) -> Any:
    """The value in the first type of a union that takes it."""
    if value is None:
        return None
    for hint in hints:
        plain = typing.get_origin(hint) or hint
        if isinstance(value, Mapping) and isinstance(plain, type) and plain is not dict:
            if any(type_name(c) == value.get("type") for c in _concrete(plain)):
                return build(plain, value)
        elif plain is tuple and isinstance(value, list):
            return _rebuilt(value, hint)
        elif plain is float and isinstance(value, str):
            if value in ("nan", *_WORDS.values()):
                return float(value)
        elif plain is Path and isinstance(value, str):
            return Path(value)
    return value
