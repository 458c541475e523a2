"""What a result says of the condition that its model was tested under."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

KINDS = {
    "clean": "",
    "attack": "Attacks",
    "differential": "Attacks on one model beside another",
    "minimum": "Attacks without a budget",
    "transfer": "Transfers",
    "corruption": "Corruptions",
    "sequence": "Sequences",
    "systematic": "Systematic shifts",
    "triggered": "Triggers",
    "universal": "Universal perturbations and patches",
}
"""What a condition can be, in the order of reports, with the heading there. Metrics select cells by kind.
"differential": an attack that leaves the answers of a second model as they are, which has no result under it.
"minimum": an attack without a budget, whose result is the distance that it needs; it breaks almost every example, so it
has no place in a union of attacks. "transfer": images that an attack made on another model. A condition of somebody's
own may be of a kind of its own, which reports show last."""


@dataclass(frozen=True, kw_only=True)
class ConditionRecord:
    """Under what a model was tested; nothing that a program needs to know has to be read from a label.

    Attributes:
        kind: one of `KINDS`, or another word.
        label: for people, one a condition.
        group: what conditions that belong together share: one attack at its budgets, one corruption at its severities.
        variant: what sets the condition apart in its group, for people ("8/255", "3"); "" where it is alone.
        setting: description of the attack or shift.
        how: what else determines the result: smaller budgets before it ("after"), the copy that attacks were made on
            ("crafting"), the model that they were made on ("source"), the one whose answers they leave ("keeps").
        norm, eps: of an attack, eps in [0, 1] pixel units, infinite where it looks for the nearest image.
        severity: of a corruption, or the difficulty of a sequence.
        targets: how the classes that an attack goes for were chosen, or the class that a trigger stands for; None = any
            wrong class.
        source: name of the model that a transferred attack was made on.
        compared, step: with which frame of a sequence each later one is compared, "first" or the one "previous" by
            `step` frames.
    """

    kind: str
    label: str
    group: str
    setting: dict[str, Any]
    variant: str = ""
    how: dict[str, Any] = field(default_factory=dict)
    norm: str | None = None
    eps: float | None = None
    severity: int | None = None
    targets: str | None = None
    source: str | None = None
    compared: str | None = None
    step: int = 1

    @property
    def identity(self) -> list[Any]:
        """What a key takes from the condition: everything that can change a prediction, not what it is called."""
        return [self.kind, self.setting, self.how, self.targets]

    @property
    def strength(self) -> float:
        """Mild conditions before hard ones: the budget or the severity, 0 where there is neither."""
        return float(self.eps if self.eps is not None else self.severity or 0)

    @property
    def options(self) -> dict[str, Any]:
        """All that may tell two conditions of one label apart, by name."""
        return {**self.setting, **self.how}


def kind_order(kind: str, others: Sequence[str] = ()) -> int:
    """The place of a kind in reports; kinds that are not in `KINDS` follow in the order of `others`."""
    known = [*KINDS, *(k for k in others if k not in KINDS)]
    return known.index(kind) if kind in known else len(known)


def heading(kind: str) -> str:
    """What a report writes above the conditions of a kind."""
    return KINDS.get(kind, kind.capitalize())
