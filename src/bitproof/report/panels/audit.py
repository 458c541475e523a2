"""Audits: the verdict, what to do next, and each evidence in words, numbers and a picture."""

from dataclasses import dataclass

import numpy as np

from bitproof.records import Audit, Curves, Evidence
from bitproof.report.looks import COLOURS
from bitproof.report.panels.base import Panel
from bitproof.report.panels.gallery import data_uri
from bitproof.report.sections import Section

WIDTH, HEIGHT, LEFT, BELOW = 460, 190, 46, 34
"""Of a picture of curves, and the room for its axes, in pixels; the template has the same."""


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Curves as SVG paths.

    Attributes:
        paths: (colour variable, points, name) of each.
        mark: where on the picture the audited model stands, in pixels from the left.
        x_ends, y_ends: what the ends of the axes stand for, as text.
        description: the same in words.
    """

    paths: tuple[tuple[str, str, str], ...]
    mark: float | None
    x_ends: tuple[str, str]
    y_ends: tuple[str, str]
    description: str


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One evidence with its pictures."""

    evidence: Evidence
    lines: Lines | None
    pictures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One audit, evidence by evidence."""

    audit: Audit
    exhibits: tuple[Exhibit, ...]


def audits(section: Section) -> list[Shown]:
    """The audits of one section, in the order in which they were made."""
    return [
        Shown(audit=audit, exhibits=tuple(_exhibit(evidence) for evidence in audit.evidence))
        for audit in section.of(Audit)
    ]


def _exhibit(evidence: Evidence) -> Exhibit:
    shown = evidence.shown
    pairs = zip(shown.captions, shown.images, strict=True) if shown else ()
    return Exhibit(
        evidence=evidence,
        lines=lines(evidence.curves) if evidence.curves else None,
        pictures=tuple((caption, data_uri(image.astype(np.float32))) for caption, image in pairs),
    )


def lines(curves: Curves) -> Lines:
    """Curves as paths in a picture of `WIDTH` by `HEIGHT`."""
    marks = [] if curves.mark is None else [curves.mark]
    ends = [(float(of.min()), float(of.max())) for of in (np.append(curves.x, marks), curves.y)]
    (left, right), (low, high) = [(a, b) if b > a else (a - 0.5, b + 0.5) for a, b in ends]

    def x(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - 8) * (value - left) / (right - left), 1)

    def y(value: float) -> float:
        return round(8 + (HEIGHT - BELOW - 8) * (high - value) / (high - low), 1)

    return Lines(
        paths=tuple(
            (f"m{i % COLOURS}", " ".join(f"{x(a)},{y(b)}" for a, b in zip(curves.x, row, strict=True)), name)
            for i, (name, row) in enumerate(zip(curves.names, curves.y, strict=True))
        ),
        mark=None if curves.mark is None else x(curves.mark),
        x_ends=(f"{left:.3g}", f"{right:.3g}"),
        y_ends=(f"{low:.3g}", f"{high:.3g}"),
        description=f"{curves.y_label} over {curves.x_label}: {', '.join(curves.names)}",
    )


PANEL = Panel(name="audit", title="Audit", shows=audits)
