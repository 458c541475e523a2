"""The matrix of conditions x models: accuracy, difference from the reference, and which differences are significant."""

from dataclasses import dataclass

from bitproof.records import heading
from bitproof.report.panels.base import Panel
from bitproof.report.rows import Row, better, mean_accuracy, worse
from bitproof.report.sections import Group, Section
from bitproof.report.text import interval, percent, points

FULL_COLOUR = 0.25
"""Difference from the reference, as a fraction, at which a matrix cell has its strongest colour."""


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
    return [(heading(kind), lines) for kind, lines in blocks.items()]


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
        worse=sum(map(worse, rows)),
        better=sum(map(better, rows)),
        count=len(rows),
        hint=hint,
    )


PANEL = Panel(name="matrix", title="Matrix", shows=matrix)
