"""The matrix of conditions x models: accuracy, difference from the reference, and which differences are significant."""

from dataclasses import dataclass

from bitproof.metrics import Group, Verdict
from bitproof.records import heading
from bitproof.report.panels.base import Panel
from bitproof.report.rows import Row, mean_accuracy, row_sign, verdict_sign
from bitproof.report.sections import Section
from bitproof.report.text import interval, percent, points

FULL_COLOUR = 0.25
"""Difference from the reference, as a fraction, at which a matrix cell has its strongest colour."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One cell of the matrix: accuracy or a mean of several, the difference, and whether it is significant.

    `sign` is -1 for significantly worse than the reference, 1 for better.
    """

    accuracy: float
    difference: float | None
    sign: int
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
    """Lines by kind of condition. Severities and modes are averaged; budgets and difficulties are not."""
    blocks: dict[str, list[Line]] = {}
    for group in section.groups:
        block = blocks.setdefault(group.kind, [])
        for line in group.lines:
            parts = line.singles if len(line.conditions) > 1 else ()
            members = (_line(section, part, part.name) for part in parts)
            block.append(_line(section, line, line.name, tuple(members)))
    return [(heading(kind), lines) for kind, lines in blocks.items()]


def _line(section: Section, group: Group, name: str, members: tuple[Line, ...] = ()) -> Line:
    found = ((section.rows_of(model, group), section.verdict(model, group)) for model in section.models)
    return Line(name=name, entries=tuple(_entry(*pair) for pair in found), members=members)


def _entry(rows: list[Row] | None, verdict: Verdict | None) -> Entry | None:
    if not rows:
        return None
    differences = [row["difference"] for row in rows if row["difference"] is not None]
    if len(rows) == 1:
        sign = row_sign(rows[0])
        hint = f"95% CI {interval(rows[0])}%"
        if differences:
            hint += f"; difference {points(rows[0]['diff_low'])} to {points(rows[0]['diff_high'])} points"
    else:
        sign, accuracies = verdict_sign(verdict), [row["accuracy"] for row in rows]
        hint = f"mean of {len(rows)}, from {percent(min(accuracies))}% to {percent(max(accuracies))}%"
        if verdict is not None:
            hint += f"; difference {points(verdict.low)} to {points(verdict.high)} points"
    return Entry(
        accuracy=mean_accuracy(rows),
        difference=sum(differences) / len(rows) if len(differences) == len(rows) else None,
        sign=sign,
        hint=hint,
    )


PANEL = Panel(name="matrix", title="Matrix", shows=matrix)
