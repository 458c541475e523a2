"""Conditions of one's own whose code depends on what changes while it runs: their results would have no key."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bitproof.conditions import Condition, Crafted
from bitproof.errors import InputError
from bitproof.settings import describe, digest, values_of


@contextmanager
def settled(conditions: Sequence[Condition]) -> Iterator[None]:
    """Work during which the code of the conditions, and what it uses, has to stay what it is.

    Raises:
        InputError: a condition that is another one afterwards, as one that counts its calls in a global.
    """
    before = [_code_of(condition) for condition in conditions]
    yield
    for condition, (key, values) in zip(conditions, before, strict=True):
        now, values_now = _code_of(condition)
        if now != key:
            changed = sorted(name for name in values_now if values_now[name] != values.get(name))
            raise InputError(
                f"the code of {condition.label!r} depends on "
                + (" and ".join(map(repr, changed)) or "something outside of it")
                + ", which changed during the run",
                rule="a result lies under its condition's fields and code, with all that the code uses",
                remedy="Keep counts and caches out of it, and make a field of what it depends on",
            )


def _code_of(condition: Condition) -> tuple[str, dict[str, str]]:
    """What the condition is, and the values that its code uses by their names."""
    setting: Any = condition.attack if isinstance(condition, Crafted) else condition
    return digest(describe(setting, sources=True)), values_of(type(setting))
