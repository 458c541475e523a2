"""Errors a user can mend: every message names the value, the rule it broke and the remedy."""

import difflib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_LONGEST, _LONGEST_WORD = 600, 200
"""Letters of what a message says was wrong, and of anything in it that is quoted or has no spaces."""


class InputError(ValueError):
    """A mistake in what the user handed over; the command line prints it and exits with code 2."""

    def __init__(self, what: str, *, rule: str, remedy: str) -> None:
        what, rule, remedy = _cut(_echoed(what), _LONGEST), _echoed(rule), _echoed(remedy)
        super().__init__(f"{what}: {rule}. {remedy}{'' if remedy.endswith('?') else '.'}")
        self.what = what
        self.rule = rule
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        """How it travels from a worker process: Python's own way would call `__init__` without the rule."""
        return _restored, (type(self), self.args, self.__dict__)


class UnreadableError(InputError):
    """A picture that cannot be decoded; a run leaves it out and goes on.

    Attributes:
        reason: what is wrong with it, without its name.
    """

    def __init__(self, source: str, reason: str, *, rule: str, remedy: str) -> None:
        super().__init__(f"{source} {reason}", rule=rule, remedy=remedy)
        self.reason = reason


def kind_of(value: object) -> str:
    """What a value is, e.g. "a tuple", "an int", "an array of uint8", "None"."""
    if value is None:
        return "None"
    name = type(value).__name__
    if name == "ndarray":
        return f"an array of {value.dtype}"  # pyright: ignore[reportAttributeAccessIssue]
    return f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"


def _restored(kind: type[InputError], args: tuple[str, ...], attributes: dict[str, Any]) -> InputError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


def _echoed(text: str) -> str:
    """The text with everything shortened that can only have been handed over."""
    return re.sub(r"'[^']+'|\"[^\"]+\"|\S+", lambda found: _cut(found[0], _LONGEST_WORD), text)


def _cut(text: str, longest: int) -> str:
    """The text without its middle, if it is longer."""
    return text if len(text) <= longest else f"{text[: longest * 2 // 3]} [...] {text[-longest // 4 :]}"


def lookup(table: Mapping[str, T], name: object, kind: str) -> T:
    """The entry called `name`; an unknown name, or what is none, raises `InputError` with the nearest known one."""
    if isinstance(name, str) and name in table:
        return table[name]
    near = difflib.get_close_matches(str(name)[:_LONGEST_WORD], table, n=1, cutoff=0.4)
    raise InputError(
        f"unknown {kind} {name!r}",
        rule=f"known are {', '.join(sorted(table))}" if table else "there is none",
        remedy=f"Did you mean {near[0]!r}?" if near else "Pick one of these names" if table else "Leave it out",
    )
