"""Settings as text, the one form that the command line has for all of them.

    setting  = name | name:body | name(body) | module:setting
    body     = [head ","] field=value, field=value, ...
    value    = number | quotient | true | false | none | text | setting | value+value+...

The form with a colon ends where the text ends, so what lies inside another setting is written with brackets:
`eot:attack=pgd(eps=8/255,steps=7),draws=20`. A head is what comes before the first field, such as the bits of a scheme
(`lsq:w4a4`) or the folder of a data set (`imagenet:photos,size=299`). What is somebody's own stands behind the name
of its module: `mine:Darker`, `mine:Darker(eps=0.1)`.
"""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bitproof.errors import InputError, lookup
from bitproof.settings.importing import failed, imported, is_importable

T = TypeVar("T")

DEEPEST, LONGEST = 50, 10_000
"""Brackets and letters of a text that is read at all."""

_IN_WORDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "a switch"}
"""Plain types as messages name them."""

_FAMILIES: dict[type, tuple[str, Mapping[str, Callable[..., Any]]]] = {}


def name_family(base: type, kind: str, table: Mapping[str, Callable[..., Any]]) -> None:
    """Say by which names settings that derive from `base` are written where a field of another setting takes one."""
    _FAMILIES[base] = kind, table


@dataclass(frozen=True, kw_only=True)
class Call:
    """A setting as text, taken apart: its name, what comes before the fields, and the fields, still as text."""

    text: str
    name: str
    head: str
    fields: dict[str, str]


def call(text: str) -> Call:
    """Take a text apart.

    Raises:
        InputError: brackets that do not match, a part that is no field, a field named twice.

    Example:
        >>> parts = call("imagenet:photos/val,size=299")
        >>> parts.name, parts.head, parts.fields
        ('imagenet', 'photos/val', {'size': '299'})
    """
    if text.count("(") > DEEPEST or len(text) > LONGEST:
        raise InputError(
            f"a text of {len(text):,} letters and {text.count('('):,} brackets",
            rule=f"settings are written in at most {LONGEST:,} letters and {DEEPEST} brackets",
            remedy="Build such a setting in Python",
        )
    match = re.match(r"([^:(]*)([:(]?)", text)
    assert match  # as both parts may be empty
    name, opening, body = match[1], match[2], text[match.end() :]
    if opening == "(":
        if not body.endswith(")") or _depth(body[:-1]) != 0:
            raise InputError(
                f"{text!r} has a bracket without its partner",
                rule="a setting inside another is written name(field=value,...)",
                remedy="Close every bracket, and quote the text for the shell",
            )
        body = body[:-1]
    head: list[str] = []
    fields: dict[str, str] = {}
    for item in filter(None, _split(body, ",")):
        match = re.match(r"([A-Za-z_]\w*)=", item)
        if match and match[1] in fields:
            raise InputError(
                f"{match[1]!r} stands twice in {text!r}", rule="a field has one value", remedy="Leave one of them out"
            )
        if match:
            fields[match[1]] = item[match.end() :]
        elif fields:
            raise InputError(
                f"{item!r} in {text!r}", rule="a setting is written field=value", remedy="Write name:field=value,..."
            )
        else:
            head.append(item)
    return Call(text=text, name=name.strip(), head=",".join(head), fields=fields)


def parse(text: str, table: Mapping[str, Callable[..., Any]], kind: str) -> Any:
    """The setting that a text describes; its name is looked up in `table`.

    Behind the name of a module stands what is somebody's own: a class or function, or a setting that is made already.
    Numbers may be quotients (`eps=0.5/255`), several values are joined by + (`milestones=0.3+0.6`), and settings may
    hold settings (`eot:attack=pgd(steps=7)`). Unknown names, fields and unreadable values raise `InputError`.
    """
    module, colon, rest = text.partition(":")
    if colon and module not in table and is_importable(module):
        parts = call(rest)
        made = imported(module, parts.name, kind)
        if isinstance(made, type) or (callable(made) and not dataclasses.is_dataclass(made) and not _needs(made)):
            return construct(made, parts)
        return made  # a setting that is made already, or a function that is one, such as a loss
    parts = call(text)
    return construct(lookup(table, parts.name, kind), parts)


def as_setting(given: Any, family: type[T], table: Mapping[str, Callable[..., Any]], kind: str) -> T:
    """A setting of a family from itself or its text.

    Raises:
        InputError: a text that names none, or something else.
    """
    made = parse(given, table, kind) if isinstance(given, str) else given
    if not isinstance(made, family):
        raise InputError(
            f"{made!r:.80} as {kind}",
            rule=f"it is a setting, which derives from {family.__name__}, or the text of one",
            remedy=f"Use for example {next(iter(table))!r}",
        )
    return made


def as_settings(given: Any, family: type[T], table: Mapping[str, Callable[..., Any]], kind: str) -> tuple[T, ...]:
    """Settings of a family from themselves or their texts; one alone, too."""
    several = (given,) if isinstance(given, str | family) else given
    return tuple(as_setting(one, family, table, kind) for one in several)


def construct(make: Callable[..., Any], parts: Call) -> Any:
    """What `make`, a class or function with type hints, gives for the fields of a text."""
    hints = _parameters(make.__init__ if isinstance(make, type) else getattr(make, "func", make))
    if parts.head:
        raise InputError(
            f"{parts.head!r} in {parts.text!r}",
            rule="a setting is written field=value",
            remedy=f"Fields: {', '.join(hints)}" if hints else "It has no fields",
        )
    for field in parts.fields:
        lookup(hints, field, f"field of {parts.name}")
    values = {field: _read(value, hints[field], f"{field} of {parts.name}") for field, value in parts.fields.items()}
    lacking = [
        name
        for name, parameter in inspect.signature(make).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD and name not in values
    ]
    if lacking:
        raise InputError(
            f"{parts.name} without {', '.join(lacking)}",
            rule="some fields have no default",
            remedy=f"Write {parts.name}:{lacking[0]}=...",
        )
    try:
        return make(**values)
    except (InputError, RecursionError):
        raise
    except Exception as error:  # of a class of somebody's own
        raise failed(error, f"{parts.name} cannot be made") from error


def _needs(function: Callable[..., Any]) -> bool:
    """Whether a function cannot be called without arguments by position."""
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return any(p.default is p.empty and p.kind in by_place for p in parameters)


def _parameters(function: Callable[..., Any]) -> dict[str, Any]:
    """The parameters of a function by name, with their types; keywords that a typed dictionary lists are some, too."""
    hints = typing.get_type_hints(function)
    listed = [
        args[0]
        for hint in hints.values()
        if typing.get_origin(hint) is typing.Unpack and (args := typing.get_args(hint))
    ]
    plain = {name: hint for name, hint in hints.items() if typing.get_origin(hint) is not typing.Unpack}
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in hints and parameter.default not in (parameter.empty, None):
            plain[name] = type(parameter.default)  # of people's own functions, where no type is said
    for keywords in listed:
        plain |= typing.get_type_hints(keywords)
    return {name: hint for name, hint in plain.items() if name not in ("self", "return")}


def _read(text: str, hint: Any, what: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if text.lower() == "none" and type(None) in args:
            return None
        return _read_one_of(text, [a for a in args if a is not type(None)], what)
    if origin is tuple:
        return tuple(_read(part, args[0], what) for part in _split(text, "+") if part)
    if origin is typing.Literal:
        return lookup({str(choice): choice for choice in args}, text, what)
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or hint in _FAMILIES):
        return _read_setting(text, hint)
    if hint is str:
        return text
    if hint is Path:
        return Path(text).expanduser()
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
        rule=f"it is {_IN_WORDS.get(hint, hint)}",
        remedy="Write numbers like 4, 0.5, 8/255 or 0.5/255, and switches as true or false",
    )


def _read_setting(text: str, hint: type) -> Any:
    """A setting inside another: by its class's own form, by a name of its family, or `(field=value)` of the class."""
    own = getattr(hint, "parse", None)
    if own is not None:
        return own(text)
    if hint in _FAMILIES:
        kind, table = _FAMILIES[hint]
        if text.startswith("("):
            raise InputError(
                f"{text!r} says of no {kind} which it is",
                rule="a setting inside another is written name(field=value,...)",
                remedy=f"Write for example {next(iter(table))}{text}",
            )
        return parse(text, table, kind)
    return construct(hint, dataclasses.replace(call(text), name=hint.__name__))


def _read_one_of(text: str, hints: list[Any], what: str) -> Any:
    """The first reading of a union that works; where none does, the complaint of the last one."""
    for hint in hints[:-1]:
        try:
            return _read(text, hint, what)
        except InputError:
            continue
    return _read(text, hints[-1], what)


def _split(text: str, separator: str) -> Iterator[str]:
    """The parts of a text between separators that lie in no bracket; + in a number such as 1e+3 separates nothing."""
    start = depth = 0
    for i, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        number = separator == "+" and re.search(r"(?:^|[^\w.])[\d.]+[eE]$", text[start:i]) is not None
        if letter == separator and depth <= 0 and not number:
            yield text[start:i]
            start = i + 1
    yield text[start:]


def _depth(text: str) -> int:
    """How many brackets are left open; -1 where one closes that none opened."""
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return -1
    return depth
