"""Which conditions belong together: one attack at its budgets, one corruption at its severities, all resizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bitproof.records import ConditionRecord, kind_order
from bitproof.settings import digest

APART = ("attack", "differential", "sequence")
"""Kinds of condition whose budgets or difficulties are looked at one by one; of all others a group has a mean."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Conditions that belong together, mild ones first."""

    kind: str
    conditions: tuple[ConditionRecord, ...]

    @property
    def name(self) -> str:
        """What the conditions share, e.g. "pgd-20 linf" for two budgets; the label of one that is alone."""
        first, *others = self.conditions
        if not others:
            return first.label
        return f"transfers from {first.source}" if first.source else first.group

    @property
    def singles(self) -> tuple["Group", ...]:
        """Each condition as a group of its own."""
        return tuple(Group(kind=self.kind, conditions=(c,)) for c in self.conditions)

    @property
    def lines(self) -> tuple["Group", ...]:
        """What has one number and one test: the group, by its mean, or each of its conditions."""
        return self.singles if self.kind in APART else (self,)

    def short(self, condition: ConditionRecord) -> str:
        """What sets the condition apart in its group, e.g. "8/255"."""
        return condition.variant or condition.label


def group_conditions(conditions: Sequence[ConditionRecord]) -> tuple[Group, ...]:
    """The conditions in groups, these in the order of their kinds, clean first."""
    kinds = list(dict.fromkeys(c.kind for c in conditions))
    families: dict[str, list[ConditionRecord]] = {}
    for c in sorted(conditions, key=lambda c: kind_order(c.kind, kinds)):
        families.setdefault(digest(c.kind, _family(c)), []).append(c)
    return tuple(
        Group(kind=family[0].kind, conditions=tuple(sorted(family, key=lambda c: c.strength)))
        for family in families.values()
    )


def _family(c: ConditionRecord) -> Any:
    """What the conditions of a group share.

    For attacks everything but the budget, whatever they are called: a curve over budgets is one attack's. Transfers
    are grouped by their source, as a mean over sources would mix models that were attacked with others.
    """
    if c.source is not None:
        return c.source
    if c.kind in ("attack", "differential"):
        return [_without_budget(c.setting), {k: v for k, v in c.how.items() if k != "after"}, c.targets]
    return c.group


def _without_budget(setting: dict[str, Any]) -> dict[str, Any]:
    """The setting without any eps, that of an attack inside it included."""
    parts = {name: value for name, value in setting.items() if name != "eps"}
    return {name: _without_budget(value) if isinstance(value, dict) else value for name, value in parts.items()}
