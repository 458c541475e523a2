"""A setting is a value: a frozen dataclass that can be described, hashed, and read from a command line.

Every attack, shift and scheme is such a value. From its fields follow its description (plain data,
stored with each result), its digest (part of the cell's key) and its text form `name:field=value,...`.
"""

import dataclasses
import hashlib
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from bitproof.errors import InputError, lookup

T = TypeVar("T")


def describe(setting: Any) -> dict[str, Any]:
    """Plain data (JSON types only) that holds the class name and every field of `setting`."""
    fields = {f.name: getattr(setting, f.name) for f in dataclasses.fields(setting)}
    return {"type": type(setting).__name__, **{k: _plain(v) for k, v in fields.items()}}


def build(kind: type[T], description: Mapping[str, Any]) -> T:
    """The setting of class `kind` that `describe` described; foreign descriptions raise `InputError`."""
    fields = dict(description)
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if fields.pop("type", None) != kind.__name__ or not fields.keys() <= known:
        raise InputError(
            f"{dict(description)!r} does not describe a {kind.__name__}",
            rule=f"its fields are {', '.join(sorted(known))}",
            remedy="Use a file that this version of bitproof wrote",
        )
    hints = typing.get_type_hints(kind)
    return kind(**{name: _rebuilt(value, hints[name]) for name, value in fields.items()})


def _rebuilt(value: Any, hint: Any) -> Any:
    """What JSON has no form for: settings within settings, tuples, and infinity."""
    if isinstance(value, Mapping) and dataclasses.is_dataclass(hint):
        return build(hint, value)  # pyright: ignore
    if value == "inf":
        return math.inf
    return tuple(_rebuilt(v, None) for v in value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return describe(value)
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return "inf" if value == math.inf else value  # JSON knows no infinity


def digest(*parts: Any) -> str:
    """A 32-digit hexadecimal BLAKE2b hash of plain data, equal for equal data on every machine."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def parse(text: str, table: Mapping[str, Callable[..., Any]], kind: str) -> Any:
    """The setting that `name` or `name:field=value,field=value` describes; `name` is looked up in `table`.

    Numbers may be quotients (`eps=0.5/255`), several values are joined by + (`milestones=0.3+0.6`).
    Unknown names, fields and unreadable values raise `InputError`.
    """
    name, _, rest = text.partition(":")
    build = lookup(table, name, kind)
    hints = typing.get_type_hints(build.__init__ if isinstance(build, type) else build)
    hints = {k: v for k, v in hints.items() if k not in ("self", "return")}
    values: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        field, equals, value = item.partition("=")
        if not equals:
            raise InputError(
                f"{item!r} in {text!r}", rule="a setting is written field=value", remedy=f"Fields: {', '.join(hints)}"
            )
        lookup(hints, field, f"field of {name}")
        values[field] = _read(value, hints[field], f"{field} of {name}")
    return build(**values)


def _read(text: str, hint: Any, what: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        if text.lower() == "none" and type(None) in typing.get_args(hint):
            return None
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
        origin = typing.get_origin(hint)
    if origin is tuple:
        return tuple(_read(part, typing.get_args(hint)[0], what) for part in text.split("+"))
    if origin is typing.Literal or hint is str:
        return text
    if hint is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if hint is int:
            return int(text)
        if hint is float:
            above, slash, below = text.partition("/")
            return float(above) / float(below) if slash else float(text)
    except (ValueError, ZeroDivisionError):
        pass
    raise InputError(
        f"{what} is {text!r}",
        rule=f"it must be a {getattr(hint, '__name__', hint)}",
        remedy="Write numbers like 4, 0.5, 8/255 or 0.5/255, and switches as true or false",
    )
