"""What a report shows: one section a data set and seed, its models and conditions named apart and put in order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bitproof import metrics
from bitproof.errors import InputError, lookup
from bitproof.records import KINDS, Cell, ConditionRecord, DataRecord, ModelRecord, name_conditions
from bitproof.settings import digest

Row = dict[str, Any]
"""One row of `metrics.compare` or `metrics.summary`."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Conditions that belong together, mild ones first: one attack at its budgets, one corruption, all resizes."""

    kind: str
    conditions: tuple[ConditionRecord, ...]

    @property
    def name(self) -> str:
        """What the labels have in common, e.g. "pgd-20 linf" for two budgets."""
        return " ".join(self._common) or self.conditions[0].group

    def short(self, condition: ConditionRecord) -> str:
        """What sets the condition apart in its group, e.g. "8/255"."""
        return " ".join(w for w in condition.label.split() if w not in self._common) or condition.label

    @property
    def _common(self) -> list[str]:
        first, *others = (c.label.split() for c in self.conditions)
        return [word for word in first if all(word in other for other in others)]


@dataclass(frozen=True, kw_only=True)
class Section:
    """The results on one data set with one seed.

    Attributes:
        models: the reference first, the others by falling bits; no two share a name.
        groups: the conditions, clean first; no two share a label.
        cells: by model name and condition label.
        rows: the comparison with the reference, by model name and condition label.
        summary: the metrics, one row a model and metric.
    """

    data: DataRecord
    seed: int
    models: tuple[ModelRecord, ...]
    groups: tuple[Group, ...]
    cells: dict[tuple[str, str], Cell]
    rows: dict[tuple[str, str], Row]
    summary: list[Row]

    @property
    def reference(self) -> ModelRecord:
        """The model that the others are compared with."""
        return self.models[0]

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(next(iter(self.cells.values())).ids)

    def rows_of(self, model: ModelRecord, group: Group) -> list[Row] | None:
        """The model's rows under all conditions of the group; None where one is missing, as means would mislead."""
        rows = [self.rows.get((model.name, c.label)) for c in group.conditions]
        return [row for row in rows if row is not None] if all(rows) else None

    def clean(self, model: ModelRecord) -> Row | None:
        """The model's row on the clean images."""
        return self.rows.get((model.name, "clean"))


def mean_accuracy(rows: Sequence[Row]) -> float:
    """The mean of the rows' accuracies; one way for matrix and plots, as two might round a tie apart."""
    return sum(row["accuracy"] for row in rows) / len(rows)


def sections(cells: Sequence[Cell], reference: str | None) -> list[Section]:
    """The cells by data set and seed, in the order in which these first appear.

    Args:
        cells: of any number of models, conditions, data sets and seeds.
        reference: name of the model that the others are compared with. Where a section does not have it, and
            where it is None: the first model of 32/32 bits, or else the first one.

    Raises:
        InputError: no cells, or a reference that no section has.
    """
    if not cells:
        raise InputError(
            "there are no results to report",
            rule="a report shows at least one cell",
            remedy="Run `bitproof evaluate ... --store PATH` first, or check the filter",
        )
    parts: dict[tuple[str, int], list[Cell]] = {}
    for cell in cells:
        parts.setdefault((cell.data.fingerprint, cell.seed), []).append(cell)
    named = [name_conditions(_name_models(part)) for part in parts.values()]
    if reference is not None:
        known = [*cells, *(cell for part in named for cell in part)]
        lookup({cell.model.name: None for cell in known}, reference, "reference model")
    return [_section(part, new, reference) for part, new in zip(parts.values(), named, strict=True)]


def _section(part: list[Cell], named: list[Cell], reference: str | None) -> Section:
    models = {cell.model.name: cell.model for cell in named}
    asked = [new.model for old, new in zip(part, named, strict=True) if reference in (old.model.name, new.model.name)]
    floats = [m for m in models.values() if m.weight_bits == m.act_bits == 32]
    chosen = (asked or floats or list(models.values()))[0]
    ordered = sorted(models.values(), key=lambda m: (m.name != chosen.name, -m.weight_bits, -m.act_bits))
    groups = _groups(list({cell.condition.label: cell.condition for cell in named}.values()))
    cells = {(cell.model.name, cell.condition.label): cell for cell in named}
    everything = ((m.name, c.label) for group in groups for c in group.conditions for m in ordered)
    cells = {key: cells[key] for key in everything if key in cells}
    rows = metrics.compare(list(cells.values()), chosen.name)
    return Section(
        data=named[0].data,
        seed=named[0].seed,
        models=tuple(ordered),
        groups=groups,
        cells=cells,
        rows=dict(zip(cells, rows, strict=True)),
        summary=metrics.summary(list(cells.values())),
    )


def _name_models(cells: list[Cell]) -> list[Cell]:
    """One name a model, one model a name.

    A store keeps a cell under the name that first asked for it, so one model may have several there: its first
    one counts. But two names for one cell are what somebody asked for. Different models of one name get the
    first digits of their fingerprint.
    """
    stored = len({cell.key for cell in cells}) == len(cells)

    def who(model: ModelRecord) -> str:
        return digest(model.identity, "" if stored else model.name)

    models: dict[str, ModelRecord] = {}
    for cell in cells:
        models.setdefault(who(cell.model), cell.model)
    names = Counter(model.name for model in models.values())
    digits = Counter((model.name, model.fingerprint[:6]) for model in models.values())
    for key, model in models.items():
        if names[model.name] > 1:
            unique = digits[model.name, model.fingerprint[:6]] == 1
            suffix = model.fingerprint[:6] if unique else digest(model.identity)[:6]
            models[key] = replace(model, name=f"{model.name} ({suffix})")
    return [replace(cell, model=models[who(cell.model)]) for cell in cells]


def _groups(conditions: list[ConditionRecord]) -> tuple[Group, ...]:
    families: dict[str, list[ConditionRecord]] = {}
    for c in sorted(conditions, key=lambda c: KINDS.index(c.kind)):
        # Attacks are grouped by all of their setting but the budget: their stored groups do not span budgets.
        same = {k: v for k, v in c.setting.items() if k not in ("eps", "after")} if c.kind == "attack" else c.group
        families.setdefault(digest(c.kind, same), []).append(c)
    return tuple(
        Group(kind=family[0].kind, conditions=tuple(sorted(family, key=_strength))) for family in families.values()
    )


def _strength(condition: ConditionRecord) -> float:
    return float(condition.setting.get("eps", condition.setting.get("severity", 0)))  # "inf" is a float too
