"""What a condition is, and the names of all of them."""

from collections.abc import Callable, Iterable
from typing import Any

from bitproof.attacks import ATTACKS, Attack
from bitproof.conditions.clean import Clean
from bitproof.conditions.crafted import Crafted
from bitproof.conditions.targets import RULES, class_number
from bitproof.errors import InputError, lookup
from bitproof.settings import call, parse
from bitproof.shifts import CORRUPTIONS, RELEASED, SEQUENCES, SYSTEMATIC
from bitproof.shifts.base import Rerun, Shift

Condition = Shift | Crafted | Rerun

CONDITIONS: dict[str, Callable[..., Any]] = {
    "clean": Clean,
    "crafted": Crafted,
    **ATTACKS,
    **CORRUPTIONS,
    **SEQUENCES,
    **SYSTEMATIC,
    **RELEASED,
}
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


def parse_condition(text: str) -> Condition:
    """Read `name:field=value,...`, e.g. `pgd:eps=2/255,steps=40` or `crafted:attack=pgd(eps=2/255),targets=next`."""
    return as_condition(text)


def as_attack(given: Attack | str) -> Attack:
    """An attack, or the text of one, whose images go to all models.

    Raises:
        InputError: another condition, or something else.
    """
    if isinstance(given, Attack):
        return given
    name = call(given).name
    if name in CONDITIONS and name not in ATTACKS:
        raise InputError(
            f"{given!r} as a transfer",
            rule="a transfer is an attack, made on each of the models and given to all of them",
            remedy="Write the attack itself, such as pgd:eps=2/255; with targets, a condition that names its source: "
            "crafted:attack=pgd(eps=2/255),targets=next,source=float",
        )
    return parse(given, ATTACKS, "attack")


def check_names(condition: Condition, models: Iterable[str], classes: tuple[str, ...]) -> None:
    """Refuse a condition that names a model or a class which is not there.

    Raises:
        InputError: such a condition.
    """
    if isinstance(condition, Crafted):
        if condition.source:
            lookup(dict.fromkeys(models), condition.source, "source of a transfer")
        if condition.targets is not None and condition.targets not in RULES:
            class_number(str(condition.targets), classes)
