"""Gradient alignment: a matrix of cosines between all models, a loss at a time."""

from dataclasses import dataclass

import numpy as np

from bitproof.records import Alignment
from bitproof.records.alignment import LOSSES
from bitproof.report.panels.base import Panel
from bitproof.report.sections import Section
from bitproof.settings import digest


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A mean cosine; `strength` is the depth of its colour, from 0 for none to 1 for parallel gradients."""

    text: str
    hint: str
    strength: float
    own: bool


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Cosines of one loss: a line a model, with the number of images on which it has no gradient."""

    loss: str
    count: int
    names: tuple[str, ...]
    lines: tuple[tuple[str, tuple[Entry, ...], int], ...]


def alignment(section: Section) -> list[Matrix]:
    """Two matrices a record, under the names that the models have in this section."""
    here = {digest(model.identity): model.name for model in section.everyone}
    return [
        Matrix(
            loss=loss,
            count=record.count,
            names=names,
            lines=tuple(
                (name, tuple(_entry(record, k, i, j) for j in range(len(names))), int(record.zeros[k, i]))
                for i, name in enumerate(names)
            ),
        )
        for record in section.of(Alignment)
        for names in [tuple(here.get(digest(m.identity), m.name) for m in (record.model, *record.others))]
        for k, loss in enumerate(LOSSES)
    ]


def _entry(record: Alignment, k: int, i: int, j: int) -> Entry:
    value = float(record.cosines[k, i, j])
    if np.isnan(value):
        return Entry(text="\N{EN DASH}", hint="no image on which both have a gradient", strength=0.0, own=i == j)
    return Entry(
        text=f"{value:.2f}".replace("-", "\N{MINUS SIGN}"),
        hint=f"95% CI {record.low[k, i, j]:.3f} to {record.high[k, i, j]:.3f}, {record.pairs[k, i, j]:,} images",
        strength=abs(value),
        own=i == j,
    )


PANEL = Panel(name="alignment", title="Gradient alignment", shows=alignment)
