"""Threats: what models on a board are ranked under. Only those that met the same conditions are compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from bitproof.leaderboard.entry import Entry
from bitproof.metrics import mean_over_groups
from bitproof.records import ConditionRecord, heading
from bitproof.report.text import distance
from bitproof.settings import digest

MEANS = ("corruption", "systematic")
"""Kinds of condition whose mean is ranked: over the severities of each, then over them."""


@dataclass(frozen=True, kw_only=True)
class Threat:
    """Conditions that make one number.

    Attributes:
        name: for people, such as "linf 2/255".
        how: by what it is measured.
        kind: of the conditions.
        conditions: them, by key (`Score.key`).
    """

    name: str
    how: str
    kind: str
    conditions: dict[str, ConditionRecord]

    @property
    def slug(self) -> str:
        """A short name for links."""
        return f"t{digest(self.kind, self.name, sorted(self.conditions))[:6]}"

    def faces(self, entry: Entry) -> bool:
        """Whether an entry was tested under all of it."""
        return self.conditions.keys() <= entry.correct.keys()

    def scores(self, entry: Entry) -> Float[np.ndarray, " n"]:
        """How far each example is right, in [0, 1]: under every attack, or on the mean over other conditions."""
        right = np.stack([entry.correct[key] for key in self.conditions])
        if self.kind in MEANS:
            return mean_over_groups(right, [condition.group for condition in self.conditions.values()])
        return right.all(axis=0).astype(float)


def threats(entries: Sequence[Entry]) -> list[Threat]:
    """What the entries of one data set can be ranked under: clean images, each budget of attacks, and means.

    Where entries met different attacks at one budget, each set of attacks is a threat of its own, which all stand that
    met at least these: a model that was attacked more is compared by what the other met too.
    """
    sets: dict[tuple[str, str], dict[frozenset[str], dict[str, ConditionRecord]]] = {}
    for entry in entries:
        met: dict[tuple[str, str], dict[str, ConditionRecord]] = {}
        for score in entry.scores:
            if (place := _place(score.condition)) is not None:
                met.setdefault(place, {})[score.key] = score.condition
        for place, conditions in met.items():
            sets.setdefault(place, {}).setdefault(frozenset(conditions), conditions)
    found = [
        Threat(name=name, how=_how(kind, conditions), kind=kind, conditions=conditions)
        for (kind, name), variants in sets.items()
        for conditions in variants.values()
    ]
    kinds = ["attack", *MEANS, "clean"]
    return sorted(
        found,
        key=lambda t: (kinds.index(t.kind), -sum(map(t.faces, entries)), -len(t.conditions), t.name),
    )


def _place(c: ConditionRecord) -> tuple[str, str] | None:
    """Kind and name of the threat that a condition is a part of; None for what is not ranked."""
    if c.kind == "attack" and c.targets is None and c.norm is not None:
        return "attack", f"{c.norm} {distance(c.eps, c.norm)}"
    if c.kind in MEANS:
        return c.kind, heading(c.kind).lower()
    return ("clean", "clean images") if c.kind == "clean" else None


def _how(kind: str, conditions: dict[str, ConditionRecord]) -> str:
    if kind == "clean":
        return "as they are"
    groups = dict.fromkeys(c.group for c in conditions.values())
    if kind == "attack":
        return "right under each of " + ", ".join(groups) if len(groups) > 1 else next(iter(groups))
    return f"mean over {len(conditions)} conditions: {', '.join(groups)}"
