"""Which layer: what each one changes where it alone is turned, as intervals and as a table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bitproof.records import Attribution, LayerEffect
from bitproof.records.layers import MEASURES
from bitproof.report.drawing import FAINT, Plot, marker_and_colour, page_style, svg_of
from bitproof.report.looks import Look
from bitproof.report.panels.base import Panel
from bitproof.report.sections import Section
from bitproof.report.text import points

DRAWN = 30
"""Most layers in a plot; the table has all."""

_LOOKS = {
    name: Look(colour=f"m{i}", marker=marker, character=character)
    for i, (name, marker, character) in enumerate(zip(MEASURES, ("o", "s", "D"), ("●", "■", "◆"), strict=True), 1)
}
_WORDS = {"agreement": "agreement with float", "accuracy": "accuracy", "robust": "accuracy under attack"}


@dataclass(frozen=True, kw_only=True)
class Blame:
    """One attribution: the record, its plot, and the measures as (name, colour, character, words)."""

    record: Attribution
    plot: Plot
    keys: tuple[tuple[str, str, str, str], ...]


def layers(section: Section) -> list[Blame]:
    """Every attribution of the section's models."""
    keys = tuple((name, look.colour, look.character, _WORDS[name]) for name, look in _LOOKS.items())
    with page_style():
        return [
            Blame(record=record, plot=_plot(record, f"{section.anchor}l{i}-"), keys=keys)
            for i, record in enumerate(section.of(Attribution))
        ]


def _plot(record: Attribution, prefix: str) -> Plot:
    from matplotlib.figure import Figure

    shown = record.layers[:DRAWN]
    figure = Figure(figsize=(6.8, 0.6 + 0.23 * len(shown)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=FAINT, linewidth=1)
    places = -np.arange(len(shown))
    for (name, look), shift in zip(_LOOKS.items(), (0.24, 0.0, -0.24), strict=True):
        marker, colour = marker_and_colour(look)
        value, low, high = 100 * _ends(shown, name)
        errors = [(value - low).clip(0), (high - value).clip(0)]
        axes.errorbar(value, places + shift, xerr=errors, fmt=marker, color=colour, ms=4, elinewidth=1.1, capsize=2)
    axes.set(yticks=places, xlabel="change in points", ylim=(places[-1] - 0.6, 0.6))
    axes.set_yticklabels([layer.name for layer in shown])
    axes.tick_params(length=0)
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)
    words = "; ".join(
        f"{layer.name} {', '.join(f'{_WORDS[name]} {points(getattr(layer, name).value)}' for name in MEASURES)}"
        for layer in shown
    )
    note = f"the first {DRAWN} of {len(record.layers)}" if len(record.layers) > DRAWN else ""
    return Plot(title=record.title, note=note, description=words, svg=svg_of(figure, prefix))


def _ends(shown: Sequence[LayerEffect], name: str) -> np.ndarray:
    changes = [getattr(layer, name) for layer in shown]
    return np.array([[getattr(change, end) for change in changes] for end in ("value", "low", "high")])


PANEL = Panel(name="layers", title="Which layer", shows=layers)
