"""What the numbers say: one finding a model in sentences, and the matrix of conditions x models."""

from dataclasses import dataclass

from bitproof.records import ModelRecord
from bitproof.report.sections import Group, Row, Section, mean_accuracy
from bitproof.report.text import interval, percent, points, unsigned_points

SIGNIFICANT = 0.05
"""Level of the Holm-corrected p-values at which a difference is marked."""

FULL_COLOUR = 0.25
"""Difference from the reference, as a fraction, at which a matrix cell has its strongest colour."""

TITLES = {
    "attack": "Attacks",
    "minimum": "Attacks without a budget",
    "corruption": "Corruptions",
    "sequence": "Sequences",
    "systematic": "Systematic shifts",
}


def significant(row: Row) -> bool:
    """Whether the row differs from the reference at the level `SIGNIFICANT`."""
    return row["p_holm"] is not None and row["p_holm"] < SIGNIFICANT


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One model in short: its row on clean images and sentences that only repeat rows."""

    model: ModelRecord
    clean: Row | None
    sentences: tuple[str, ...]


def findings(section: Section) -> list[Finding]:
    """One finding a model, the reference first."""
    return [
        Finding(
            model=model,
            clean=section.clean(model),
            sentences=tuple(_reference_says(section) if model is section.reference else _model_says(section, model)),
        )
        for model in section.models
    ]


def _rows(section: Section, model: ModelRecord) -> list[Row]:
    return [row for (name, _), row in section.rows.items() if name == model.name]


def _reference_says(section: Section) -> list[str]:
    rows = _rows(section, section.reference)
    lowest = min(rows, key=lambda row: row["accuracy"])
    others = len(section.models) > 1
    said = ["The reference: the other models are compared with it, example by example."] if others else []
    if len(rows) > 1:
        said.append(f"Lowest accuracy: {percent(lowest['accuracy'])}% {_under(lowest)}, 95% CI {interval(lowest)}.")
    return said


def _model_says(section: Section, model: ModelRecord) -> list[str]:
    rows = [row for row in _rows(section, model) if row["difference"] is not None]
    if not rows:
        return [f"No condition in common with {section.reference.name}, so nothing to compare."]
    said: list[str] = []
    clean = section.clean(model)
    if clean is not None and clean["difference"] is not None:
        change = clean["difference"]
        verb = "Loses" if change < 0 else "Gains" if change > 0 else "Differs by"
        said.append(f"{verb} {unsigned_points(change)} points on clean images {_evidence(clean)}.")
    worse, better = (sum(significant(row) and row["difference"] * sign > 0 for row in rows) for sign in (-1, 1))
    said.append(
        f"Significantly worse than {section.reference.name} under {worse} and better under {better} "
        f"of {len(rows)} condition{'s' * (len(rows) > 1)}."
    )
    worst = min(rows, key=lambda row: row["difference"])
    if worst["difference"] < 0 and worst is not clean:
        said.append(f"Largest loss: {unsigned_points(worst['difference'])} points {_under(worst)} {_evidence(worst)}.")
    return said


def _under(row: Row) -> str:
    return "on clean images" if row["kind"] == "clean" else f"under {row['condition']}"


def _evidence(row: Row) -> str:
    verdict = "significant after Holm correction" if significant(row) else "not significant after Holm correction"
    return f"(95% CI {points(row['diff_low'])} to {points(row['diff_high'])}), {verdict}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One cell of the matrix: mean accuracy and difference, and how many of its conditions differ significantly."""

    accuracy: float
    difference: float | None
    worse: int
    better: int
    count: int
    hint: str

    @property
    def strength(self) -> float:
        """Depth of the colour, 0 to 1."""
        return min(1.0, abs(self.difference or 0.0) / FULL_COLOUR)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of the matrix; `members` are the rows that it averages."""

    name: str
    entries: tuple[Entry | None, ...]
    members: tuple["Line", ...] = ()


def matrix(section: Section) -> list[tuple[str, list[Line]]]:
    """Lines by kind of condition. Severities and modes are averaged; an attack's budgets are not."""
    blocks: dict[str, list[Line]] = {}
    for group in section.groups:
        singles = [_line(section, _single(group, i), group.conditions[i].label) for i in range(len(group.conditions))]
        block = blocks.setdefault(group.kind, [])
        if group.kind == "attack" or len(singles) == 1:
            block += singles
        else:
            block.append(_line(section, group, group.name, tuple(singles)))
    return [(TITLES.get(kind, ""), lines) for kind, lines in blocks.items()]


def _single(group: Group, index: int) -> Group:
    return Group(kind=group.kind, conditions=(group.conditions[index],))


def _line(section: Section, group: Group, name: str, members: tuple[Line, ...] = ()) -> Line:
    entries = (section.rows_of(model, group) for model in section.models)
    return Line(name=name, entries=tuple(_entry(rows) if rows else None for rows in entries), members=members)


def _entry(rows: list[Row]) -> Entry:
    differences = [row["difference"] for row in rows if row["difference"] is not None]
    accuracies = [row["accuracy"] for row in rows]
    if len(rows) == 1:
        hint = f"95% CI {interval(rows[0])}%"
        if differences:
            hint += f"; difference {points(rows[0]['diff_low'])} to {points(rows[0]['diff_high'])} points"
    else:
        hint = f"mean of {len(rows)}, from {percent(min(accuracies))}% to {percent(max(accuracies))}%"
    return Entry(
        accuracy=mean_accuracy(rows),
        difference=sum(differences) / len(rows) if len(differences) == len(rows) else None,
        worse=sum(significant(row) and row["difference"] < 0 for row in rows),
        better=sum(significant(row) and row["difference"] > 0 for row in rows),
        count=len(rows),
        hint=hint,
    )
