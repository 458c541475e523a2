"""The loss on a plane through the images, as contours."""

import numpy as np

from bitproof.records import LossSlice
from bitproof.report.drawing import INK, Plot, page_style, svg_of
from bitproof.report.panels.base import Panel
from bitproof.report.sections import Section

LEVELS = 10
"""Contours, the same in all plots of a section, so that they can be compared."""


def slices(section: Section) -> list[tuple[LossSlice, Plot]]:
    """A plot a model."""
    records = section.of(LossSlice)
    if not records:
        return []
    least, most = (float(f([f(record.losses) for record in records])) for f in (np.min, np.max))
    levels = np.linspace(least, max(most, least + 1e-6), LEVELS + 1)
    with page_style():
        return [(r, _plot(r, levels, f"{section.anchor}c{i}-")) for i, r in enumerate(records)]


def _plot(record: LossSlice, levels: np.ndarray, prefix: str) -> Plot:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4, 2.7), layout="constrained")
    axes = figure.subplots()
    ways = 255 * np.array(record.ways)
    filled = axes.contourf(ways, ways, record.losses.T, levels=levels, cmap="viridis")
    axes.plot([0], [0], "+", color=INK)
    axes.set(xlabel="along the gradient's signs, in 255ths", ylabel="along random signs")
    axes.tick_params(length=0)
    bar = figure.colorbar(filled, ax=axes)
    bar.outline.set_visible(False)  # pyright: ignore - it is a spine
    svg = svg_of(figure, prefix)
    return Plot(title=record.model.name, note="mean loss in nats", description=record.findings[0], svg=svg)


PANEL = Panel(name="slices", title="Loss slices", shows=slices)
