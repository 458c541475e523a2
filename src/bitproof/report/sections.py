"""What a report shows: one section a data set and seed, its models and conditions named apart and put in order."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from bitproof import metrics
from bitproof.errors import InputError, lookup
from bitproof.metrics import Group, Verdict
from bitproof.records import Cell, DataRecord, ModelRecord, Record, name_conditions
from bitproof.report.looks import Look, looks
from bitproof.report.rows import Row
from bitproof.settings import digest

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Section:
    """The results on one data set with one seed.

    Attributes:
        anchor: where it is found on the page; no two sections share it.
        models: those with cells, the reference first, the others by falling bits; no two share a name.
        groups: the conditions, clean first; no two share a label.
        cells: by model name and condition label.
        rows: the comparison with the reference, by model name and condition label.
        verdicts: the tests of the differences, by model name and the labels of the conditions.
        summary: the metrics, one row a model and metric.
        records: all that are no cells, in the given order, of these and of other models.
    """

    anchor: str
    data: DataRecord
    seed: int
    models: tuple[ModelRecord, ...]
    groups: tuple[Group, ...]
    cells: dict[tuple[str, str], Cell]
    rows: dict[tuple[str, str], Row]
    verdicts: dict[tuple[str, tuple[str, ...]], Verdict]
    summary: list[Row]
    records: tuple[Record, ...]

    @property
    def reference(self) -> ModelRecord:
        """The model that the others are compared with."""
        return self.models[0]

    @property
    def everyone(self) -> tuple[ModelRecord, ...]:
        """The models with cells, then those that only other records are about."""
        return tuple({model.name: model for model in (*self.models, *(r.model for r in self.records))}.values())

    @property
    def looks(self) -> dict[str, Look]:
        """Colour and marker of every model by its name."""
        return looks(self.everyone)

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(next(iter(self.cells.values())).ids) if self.cells else self.data.count

    def of(self, kind: type[T]) -> list[T]:
        """The records of one kind, in the given order."""
        return [record for record in self.records if isinstance(record, kind)]

    def rows_of(self, model: ModelRecord, group: Group) -> list[Row] | None:
        """The model's rows under all conditions of the group; None where one is missing, as means would mislead."""
        rows = [self.rows.get((model.name, c.label)) for c in group.conditions]
        return [row for row in rows if row is not None] if all(rows) else None

    def verdict(self, model: ModelRecord, line: Group) -> Verdict | None:
        """What the test of the model says under one condition, or of the mean under several; None without a test."""
        return self.verdicts.get((model.name, _labels(line)))

    def clean(self, model: ModelRecord) -> Row | None:
        """The model's row on the clean images."""
        return self.rows.get((model.name, "clean"))


def sections(found: Sequence[Record], reference: str | None) -> list[Section]:
    """The records by data set and seed, in the order in which these first appear.

    Args:
        found: of any kinds, models, conditions, data sets and seeds.
        reference: name of the model that the others are compared with. Where a section does not have it, and
            where it is None: the first model of 32/32 bits, or else the first one.

    Raises:
        InputError: no records, or a reference that no section has.
    """
    if not found:
        raise InputError(
            "there are no results to report",
            rule="a report shows at least one cell or other record",
            remedy="Run `bitproof evaluate ... --store PATH` first, or check the filter",
        )
    parts: dict[tuple[str, int], list[Record]] = {}
    for record in sorted(found, key=lambda record: not isinstance(record, Cell)):  # cells name the models
        parts.setdefault((record.data.fingerprint, record.seed), []).append(record)
    named = [name_models(part) for part in parts.values()]
    if reference is not None:
        known = [*found, *(record for part in named for record in part)]
        lookup({record.model.name: None for record in known}, reference, "reference model")
    pairs = zip(parts.values(), named, strict=True)
    return [_section(f"s{i}", part, new, reference) for i, (part, new) in enumerate(pairs, 1)]


def _section(anchor: str, part: list[Record], named: list[Record], reference: str | None) -> Section:
    tested = name_conditions([record for record in named if isinstance(record, Cell)])
    models = {cell.model.name: cell.model for cell in tested}
    asked = [
        new.model.name for old, new in zip(part, named, strict=True) if reference in (old.model.name, new.model.name)
    ]
    floats = [model.name for model in models.values() if model.is_float]
    chosen = next((name for name in (*asked, *floats, *models) if name in models), None)
    ordered = sorted(models.values(), key=lambda m: (m.name != chosen, -m.weight_bits, -m.act_bits))
    groups = metrics.group_conditions(list({cell.condition.label: cell.condition for cell in tested}.values()))
    cells = {(cell.model.name, cell.condition.label): cell for cell in tested}
    everything = ((m.name, c.label) for group in groups for c in group.conditions for m in ordered)
    cells = {key: cells[key] for key in everything if key in cells}
    rows = metrics.compare(list(cells.values()), chosen) if chosen else []
    tests = metrics.family(list(cells.values()), chosen) if chosen else []
    return Section(
        anchor=anchor,
        data=part[0].data,
        seed=part[0].seed,
        models=tuple(ordered),
        groups=groups,
        cells=cells,
        rows=dict(zip(cells, rows, strict=True)),
        verdicts={(test.model, _labels(test.line)): test for test in tests},
        summary=metrics.summary(list(cells.values()), chosen),
        records=tuple(record for record in named if not isinstance(record, Cell)),
    )


def _labels(line: Group) -> tuple[str, ...]:
    return tuple(c.label for c in line.conditions)


def name_models(part: list[Record]) -> list[Record]:
    """One name a model, one model a name.

    A store keeps a record under the name that first asked for it, so one model may have several there: its first
    one counts. But two names for one record are what somebody asked for. Different models of one name get the tags
    that tell them apart, or the first digits of their fingerprint.
    """
    stored = len({record.key for record in part}) == len(part)

    def who(model: ModelRecord) -> str:
        return digest(model.identity, "" if stored else model.name)

    models: dict[str, ModelRecord] = {}
    for record in part:
        models.setdefault(who(record.model), record.model)
    names = Counter(model.name for model in models.values())
    apart = dict(models)
    digits = Counter((model.name, model.fingerprint[:6]) for model in models.values())
    for key, model in models.items():
        if names[model.name] > 1 and (said := _tags_apart(model, list(models.values()))):
            apart[key] = replace(model, name=f"{model.name} ({said})")
        elif names[model.name] > 1:
            unique = digits[model.name, model.fingerprint[:6]] == 1
            suffix = model.fingerprint[:6] if unique else digest(model.identity)[:6]
            apart[key] = replace(model, name=f"{model.name} ({suffix})")
    return [replace(cast(Cell, record), model=apart[who(record.model)]) for record in part]


def _tags_apart(model: ModelRecord, models: list[ModelRecord]) -> str:
    """The tags that no other model of this name has the same of, as text; "" where there are none."""
    namesakes = [other for other in models if other.name == model.name and other is not model]
    keys = [key for key in model.tags if any(other.tags.get(key) != model.tags[key] for other in namesakes)]
    mine = [model.tags[key] for key in keys]
    alike = any([other.tags.get(key) for key in keys] == mine for other in namesakes)
    return "" if alike else ", ".join(f"{key}={model.tags[key]}" for key in keys)
