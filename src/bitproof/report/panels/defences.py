"""Defences: what they answer, who is fooled, and how far an answer is certain, under each condition."""

from dataclasses import dataclass

from bitproof import metrics
from bitproof.records import ModelRecord
from bitproof.report.panels.base import Panel
from bitproof.report.rows import Row
from bitproof.report.sections import Section


@dataclass(frozen=True, kw_only=True)
class Stand:
    """One defended model: its row under each condition, in the section's order."""

    model: ModelRecord
    rows: tuple[Row, ...]


def defences(section: Section) -> list[Stand]:
    """One entry a model that says more than its answers."""
    rows = metrics.defences(list(section.cells.values()))
    found = ((model, tuple(row for row in rows if row["model"] == model.name)) for model in section.models)
    return [Stand(model=model, rows=own) for model, own in found if own]


PANEL = Panel(name="defences", title="Defences", shows=defences)
