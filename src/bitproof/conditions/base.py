"""What a condition is, and the names of all of them."""

from collections.abc import Callable, Iterable
from typing import Any

from bitproof.attacks import ATTACKS, Attack
from bitproof.conditions.clean import Clean
from bitproof.conditions.crafted import Crafted
from bitproof.conditions.targets import RULES, class_number
from bitproof.errors import InputError, lookup
from bitproof.settings import Table, parse
from bitproof.shifts import CORRUPTIONS, RELEASED, SEQUENCES, SYSTEMATIC, TRIGGERS
from bitproof.shifts.base import Rerun, Shift

Condition = Shift | Crafted | Rerun

CONDITIONS: Table[Callable[..., Any]] = Table(
    {
        "clean": Clean,
        "crafted": Crafted,
        **ATTACKS,
        **CORRUPTIONS,
        **SEQUENCES,
        **SYSTEMATIC,
        **RELEASED,
        **TRIGGERS,
    },
    "bitproof.attacks",
    "bitproof.shifts",
)
"""Every condition by the name that the command line and `parse_condition` take."""


def as_condition(given: Any) -> Condition:
    """A condition, an attack or a text as a condition.

    Raises:
        InputError: something else.
    """
    if isinstance(given, str):
        given = parse(given, CONDITIONS, "condition")
    if isinstance(given, Attack):
        return Crafted(attack=given)
    if isinstance(given, (Shift, Crafted, Rerun)):
        return given
    raise InputError(
        f"{given!r} is not a condition",
        rule="a condition is Clean(), an attack, a corruption, a sequence or another shift, or Crafted(attack=...)",
        remedy="See `bitproof list attacks` and `bitproof list corruptions`; one of your own derives from "
        "bitproof.attacks.Attack, bitproof.shifts.Corruption, bitproof.shifts.Shift or bitproof.shifts.Rerun",
    )


def as_crafted(given: Any) -> Crafted:
    """An attack, what it is to be made on, or a text of either, as what it is to be made on.

    Raises:
        InputError: something else.
    """
    if isinstance(given, str):
        given = parse(given, Table({**ATTACKS, "crafted": Crafted}, "bitproof.attacks"), "attack")
    if isinstance(found := as_condition(given), Crafted):
        return found
    raise InputError(
        f"{found.label!r} is not an attack",
        rule="images that deceive one model and are given to others are made by an attack",
        remedy="See `bitproof list attacks`",
    )


def parse_condition(text: str) -> Condition:
    """Read `name:field=value,...`, e.g. `pgd:eps=2/255,steps=40` or `crafted:attack=pgd(eps=2/255),targets=next`."""
    return as_condition(text)


def check_names(condition: Condition, models: Iterable[str], classes: tuple[str, ...]) -> None:
    """Refuse a condition that names a model or a class which is not there, or that takes itself for the clean images.

    Raises:
        InputError: such a condition.
    """
    about = condition.record()
    if about.source:
        lookup(dict.fromkeys(models), about.source, "source of a transfer")
    if isinstance(condition, Crafted) and condition.keeps is not None:
        lookup(dict.fromkeys(models), condition.keeps, "model to be kept")
    if about.targets is not None and about.targets not in RULES:
        class_number(about.targets, classes, rules=RULES)
    if about.kind == "clean" and not isinstance(condition, Clean):
        raise InputError(
            f"condition {condition.label!r} is of the kind 'clean'",
            rule="there is one clean condition, the images as they are, which the others are compared with",
            remedy="Give its record another kind, a word of your own",
        )
