"""Transfers: for each attack a matrix of the models that it was made on and the models that were given its images."""

from dataclasses import dataclass

from bitproof import metrics
from bitproof.report.panels.base import Panel
from bitproof.report.rows import Row
from bitproof.report.sections import Section


@dataclass(frozen=True, kw_only=True)
class Line:
    """The images made on one model; `rows` are those of `metrics.transfer`, one a model of the section."""

    source: str
    rows: tuple[Row | None, ...]


def transfers(section: Section) -> list[tuple[str, list[Line]]]:
    """Attacks in the order of the section, each with a line a source."""
    rows = metrics.transfer(list(section.cells.values()))
    found = {(row["attack"], row["source"], row["target"]): row for row in rows}
    return [
        (
            attack,
            [
                Line(source=source, rows=tuple(found.get((attack, source, model.name)) for model in section.models))
                for source in dict.fromkeys(row["source"] for row in rows if row["attack"] == attack)
            ],
        )
        for attack in dict.fromkeys(row["attack"] for row in rows)
    ]


PANEL = Panel(name="transfers", title="Transfers", shows=transfers)
