"""What changes from layer to layer: amplification, value shift, Lipschitz estimates, curvature, sharpness."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bitproof.records import Amplification, Curvature, Explained, Lipschitz, Sharpness, ValueShift
from bitproof.report.drawing import Plot, marker_and_colour, page_style, svg_of
from bitproof.report.panels.base import Panel
from bitproof.report.sections import Section
from bitproof.report.text import numbers

Values = Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One model's line in a plot: what it is of, its values, and what it is compared with, drawn dashed."""

    title: str
    values: Values
    control: Values
    note: str
    ticks: tuple[str, ...] = ()
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One kind of explanation: what is said of each model, its plots, and its tables as (title, columns, rows)."""

    heading: str
    words: tuple[tuple[str, list[str]], ...]
    plots: tuple[Plot, ...]
    tables: tuple[tuple[str, list[str], list[list[str]]], ...]


def _amplification(record: Amplification) -> list[Curve]:
    note = "relative distance; dashed: random signs"
    grown = [
        Curve(
            title=f"Change of {255 * record.eps[at]:.4g}/255, by layer",
            values=record.sums[0, at].tolist(),
            control=record.sums[1, at].tolist(),
            note=note,
            log=True,
        )
        for at in dict.fromkeys((0, len(record.eps) - 1))
    ]
    sizes = tuple(f"{255 * eps:.3g}" for eps in record.eps)
    at = [
        Curve(
            title=f"{where}, by size",
            values=record.sums[0, :, k].tolist(),
            control=record.sums[1, :, k].tolist(),
            note=note,
            ticks=sizes,
        )
        for where, k in (("Second layer", 1), ("Logits", -1))
        if len(sizes) > 1 and len(record.layers) > 1
    ]
    return [*grown, *at]


def _shift(record: ValueShift) -> list[Curve]:
    shares = record.shares / record.shares[:, :1].clip(1e-12)
    note = "share of the units that change in float; dashed: random signs"
    return [
        Curve(
            title="Swallowed changes, by layer", values=shares[0, 1].tolist(), control=shares[1, 1].tolist(), note=note
        )
    ]


def _lipschitz(record: Lipschitz) -> list[Curve]:
    folded, matrix = ([getattr(layer, name) for layer in record.layers] for name in ("folded", "matrix"))
    note = "with BatchNorm; dashed: of the weight as a matrix"
    return [Curve(title="Largest amplification, by layer", values=folded, control=matrix, note=note, log=True)]


def _curvature(record: Curvature) -> list[Curve]:
    each = [layer.trace / layer.parameters for layer in record.layers]
    return [Curve(title="Trace for each parameter, by module", values=each, control=(), note="second derivative")]


def _sharpness(record: Sharpness) -> list[Curve]:
    alone = record.layers[:-1]
    values, control = [layer.along for layer in alone], [layer.mean for layer in alone]
    note = "nats; dashed: mean of random directions"
    return [Curve(title="Along the error, by layer", values=values, control=control, note=note)]


KINDS: dict[type[Explained], tuple[str, Callable[[Any], list[Curve]]]] = {
    Amplification: ("Error amplification", _amplification),
    ValueShift: ("Quantization value shift", _shift),
    Lipschitz: ("Lipschitz estimates", _lipschitz),
    Curvature: ("Curvature of the loss", _curvature),
    Sharpness: ("Sharpness along the error of quantization", _sharpness),
}
"""Heading and curves of each kind of record, in the order of the page."""


def by_layer(section: Section) -> list[Shown]:
    """Each kind of which the section has records."""
    found = []
    for number, (kind, (heading, curves)) in enumerate(KINDS.items()):
        if records := section.of(kind):
            with page_style():
                plots = _plots(section, records, curves, f"{section.anchor}y{number}-")
            found.append(
                Shown(
                    heading=heading,
                    words=tuple((record.model.name, record.findings) for record in records),
                    plots=tuple(plots),
                    tables=tuple((record.title, *numbers(record)) for record in records),
                )
            )
    return found


def _plots(
    section: Section, records: Sequence[Explained], curves: Callable[[Any], list[Curve]], prefix: str
) -> list[Plot]:
    """A plot a title, with all models that have such a curve."""
    drawn: dict[str, list[tuple[str, Curve]]] = {}
    for record in records:
        for curve in curves(record):
            drawn.setdefault(curve.title, []).append((record.model.name, curve))
    return [_plot(section, title, lines, f"{prefix}{i}-") for i, (title, lines) in enumerate(drawn.items())]


def _plot(section: Section, title: str, lines: list[tuple[str, Curve]], prefix: str) -> Plot:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    first = lines[0][1]
    figure = Figure(figsize=(3.4, 2.4), layout="constrained")
    axes = figure.subplots()
    for name, curve in lines:
        marker, colour = marker_and_colour(section.looks[name])
        places = range(1, len(curve.values) + 1)
        axes.plot(places, curve.values, f"{marker}-", color=colour, ms=3.5, linewidth=1.3)
        axes.plot(places[: len(curve.control)], curve.control, "--", color=colour, linewidth=1)
    if first.ticks:
        axes.set_xticks(range(1, len(first.ticks) + 1), first.ticks)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there are no half layers
    values = [value for _, curve in lines for value in (*curve.values, *curve.control)]
    if first.log and min(values) > 0 and max(values) >= 10 * min(values):  # less than a decade may hold no tick
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")  # the usual one writes mathematics
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("eps in 255ths" if first.ticks else "layer, in the order of the table")
    axes.grid(axis="y", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, which="both")
    words = "; ".join(f"{name} {', '.join(f'{value:.3g}' for value in curve.values)}" for name, curve in lines)
    return Plot(title=title, note=first.note, description=f"{title}: {words}", svg=svg_of(figure, prefix))


PANEL = Panel(name="by_layer", title="Layer by layer", shows=by_layer)
