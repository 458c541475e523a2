"""Conditions: what a model is tested under, and how each is named in a result."""

import math
from dataclasses import dataclass
from typing import Any

from bitproof.attacks import ATTACKS, Attack
from bitproof.errors import InputError
from bitproof.records import ConditionRecord
from bitproof.settings import describe, parse
from bitproof.shifts import (
    CORRUPTIONS,
    RELEASED,
    SEQUENCES,
    SYSTEMATIC,
    CifarC,
    Corruption,
    ImageNetC,
    ImageNetP,
    Inference,
    Pipeline,
    Released,
    Sequence,
)


@dataclass(frozen=True, kw_only=True)
class Clean:
    """The images as they are."""

    @property
    def label(self) -> str:
        return "clean"


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """The images that an attack made on one model of the experiment, given to all of its models.

    Attributes:
        attack: made them, from the examples that the source gets right; the others stay as they are.
        source: name of the model that was attacked.
    """

    attack: Attack
    source: str

    @property
    def label(self) -> str:
        return f"{self.attack.label} from {self.source}"


Condition = Clean | Transfer | Attack | Corruption | Sequence | Pipeline | Inference | Released

CONDITIONS = {"clean": Clean, **ATTACKS, **CORRUPTIONS, **SEQUENCES, **SYSTEMATIC, **RELEASED}
"""Every condition by the name that the command line and `parse_condition` take."""


def record(condition: Condition, *, after: ConditionRecord | None = None) -> ConditionRecord:
    """How the condition is stored. Corruptions of one kind share a group over their severities.

    `after` is the condition whose broken examples an attack counts as broken, where that is an attack too.
    """
    match condition:
        case Clean():
            kind, group = "clean", "clean"
        case Attack():
            kind, group = "minimum" if condition.eps == math.inf else "attack", condition.label
        case Transfer():
            kind, group = "transfer", condition.source
        case Corruption() | CifarC() | ImageNetC():
            kind, group = "corruption", condition.name
        case Sequence() | ImageNetP():
            kind, group = "sequence", condition.label
        case Pipeline() | Inference():
            kind, group = "systematic", condition.name
        case _:
            raise InputError(
                f"{condition!r} is not a condition",
                rule="a condition is Clean(), an attack, a transfer, a corruption, a sequence or another shift",
                remedy="See `bitproof list attacks` and `bitproof list shifts`",
            )
    setting = describe(condition)
    if isinstance(condition, Released):
        setting = {k: v for k, v in setting.items() if k != "root"} | {"content": condition.content}
    if after is not None and after.kind == "attack":
        setting["after"] = after.setting
    return ConditionRecord(kind=kind, label=condition.label, group=group, setting=setting)


def parse_condition(text: str) -> Any:
    """Read `name:field=value,...`, e.g. `pgd:eps=2/255,steps=40` or `pipeline:resize=opencv-area`."""
    return parse(text, CONDITIONS, "condition")
