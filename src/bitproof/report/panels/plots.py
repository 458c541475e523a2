"""Accuracy against bits (or against an attack's budget) as small inline SVG plots, one a group of conditions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bitproof import metrics
from bitproof.metrics import Group
from bitproof.records import ConditionRecord, ModelRecord
from bitproof.report.drawing import FAINT, INK, Plot, marker_and_colour, page_style, svg_of
from bitproof.report.panels.base import Panel
from bitproof.report.rows import mean_accuracy
from bitproof.report.sections import Section
from bitproof.report.text import bits, distance, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 0.95
"""Share of the distances found that a curve of robust accuracy reaches to: a few lie far out."""

_MEMBERS = {"transfer": "attacks", "corruption": "severities", "sequence": "difficulties", "systematic": "modes"}


@dataclass(frozen=True, kw_only=True)
class _Point:
    """An accuracy with its interval; `members` are the accuracies that it is the mean of."""

    value: float
    low: float
    high: float
    members: Sequence[float] = ()


def plots(section: Section) -> list[Plot]:
    """One plot a group of conditions."""
    with page_style():
        return [_plot(section, group, f"{section.anchor}p{i}-") for i, group in enumerate(section.groups)]


def _plot(section: Section, group: Group, prefix: str) -> Plot:
    """The plot of a group; `prefix` keeps the SVG's ids apart from those of other plots."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4, 2.4))
    axes = figure.subplots(gridspec_kw={"left": 0.1, "right": 0.99, "bottom": 0.19, "top": 0.98})
    count = len(group.conditions)
    if group.kind == "attack" and count > 1:
        words = _against_budget(axes, section, group)
        note = "against the budget eps"
    elif group.kind == "minimum" and count == 1:
        words = _against_distance(axes, section, group.conditions[0])
        note = "by distance"
    else:
        words = _against_bits(axes, section, group)
        note = f"mean of {count} {_MEMBERS.get(group.kind, 'conditions')}" if count > 1 else ""
    axes.set(ylim=(-3, 112), yticks=range(0, 101, 25))
    axes.grid(axis="y", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return Plot(title=group.name, note=note, description=words, svg=svg_of(figure, prefix))


def _against_bits(axes: "Axes", section: Section, group: Group) -> str:
    places = list(dict.fromkeys(_place(m) for m in sorted(section.models, key=lambda m: (-m.weight_bits, -m.act_bits))))
    words: list[str] = []
    if len(places) == len(section.models):  # with two models of the same bits a line would join the wrong ones
        line = [(places.index(_place(m)), 100 * p.value) for m in section.models if (p := _point(section, m, group))]
        axes.plot(*zip(*sorted(line), strict=True), color=FAINT, linewidth=1.3)
    for place in places:
        here = [m for m in section.models if _place(m) == place]
        for model, shift in zip(here, _dodge(len(here)), strict=True):
            if (point := _point(section, model, group)) is None:
                continue
            x = places.index(place) + shift
            axes.plot([x] * len(point.members), [100 * v for v in point.members], "_", color=INK, alpha=0.35, ms=7)
            _draw(axes, section, model, [x], [point])
            if len(here) == 1 and len(places) <= 5:  # more values would overlap
                axes.annotate(
                    percent(point.value), (x, 100 * point.value), (7, 3), textcoords="offset points", size=8.5
                )
            words.append(f"{model.name} {percent(point.value)}%")
    axes.set(xlim=(-0.45, len(places) - 0.35), xticks=range(len(places)), xlabel="bits (weights/activations)")
    axes.set_xticklabels(places)
    return f"Accuracy under {group.name}: {', '.join(words)}"


def _against_budget(axes: "Axes", section: Section, group: Group) -> str:
    ticks = ["0", *(group.short(c) for c in group.conditions)]
    words: list[str] = []
    for model, shift in zip(section.models, _dodge(len(section.models)), strict=True):
        labels = ["clean", *(c.label for c in group.conditions)]
        rows = {x: row for x, label in enumerate(labels) if (row := section.rows.get((model.name, label)))}
        if not rows:
            continue
        found = [_Point(value=row["accuracy"], low=row["low"], high=row["high"]) for row in rows.values()]
        _draw(axes, section, model, [x + shift / 2 for x in rows], found)
        words.append(
            f"{model.name} {', '.join(f'{percent(p.value)}% at {ticks[x]}' for x, p in zip(rows, found, strict=True))}"
        )
    axes.set(xlim=(-0.45, len(ticks) - 0.55), xticks=range(len(ticks)), xlabel="eps")
    axes.set_xticklabels(ticks)
    return f"Accuracy under {group.name}: {'; '.join(words)}"


def _against_distance(axes: "Axes", section: Section, condition: ConditionRecord) -> str:
    """Robust accuracy curves: all budgets of an attack that looks for the nearest wrong image."""
    cells = {m.name: cell for m in section.models if (cell := section.cells.get((m.name, condition.label)))}
    norm = metrics.minimised_norm(next(iter(cells.values())))
    needed = {name: metrics.needed_distances(cell, norm) for name, cell in cells.items()}
    finite = np.concatenate([d[np.isfinite(d) & (d > 0)] for d in needed.values()])
    end = 1.1 * float(np.quantile(finite, SHOWN)) if len(finite) else 1.0
    scale, words = 255 if norm == "linf" else 1, list[str]()
    for model in (m for m in section.models if m.name in cells):
        marker, colour = marker_and_colour(section.looks[model.name])
        inside = np.unique(needed[model.name][needed[model.name] <= end])
        x = np.concatenate([[0.0], inside[inside > 0], [end]])
        y = metrics.robust_accuracy_curve(cells[model.name], x, norm)
        axes.step(x * scale, 100 * y, where="post", color=colour, linewidth=1.5)
        marks = np.linspace(0, end, 6)
        values = metrics.robust_accuracy_curve(cells[model.name], marks, norm)
        axes.plot(marks * scale, 100 * values, marker, color=colour, ms=4.5)
        at = ", ".join(f"{percent(v)}% at {distance(e, norm)}" for e, v in zip(marks[1:], values[1:], strict=True))
        words.append(f"{model.name} {percent(y[0])}% when clean, {at}")
    axes.set(xlim=(-0.03 * end * scale, end * scale), xlabel=f"{norm} distance" + " in 255ths" * (norm == "linf"))
    return f"Accuracy within each distance under {condition.label}: {'; '.join(words)}"


def _draw(axes: "Axes", section: Section, model: ModelRecord, x: Sequence[float], drawn: Sequence[_Point]) -> None:
    marker, colour = marker_and_colour(section.looks[model.name])
    # Rounding may put an end of the interval on the wrong side by one unit in the last place.
    y = np.array([[p.value, max(0, p.value - p.low), max(0, p.high - p.value)] for p in drawn]).reshape(-1, 3).T * 100
    axes.errorbar(x, y[0], y[1:], fmt=f"{marker}-", color=colour, ms=6, linewidth=1.3, elinewidth=1.3, capsize=3)


def _point(section: Section, model: ModelRecord, group: Group) -> _Point | None:
    rows = section.rows_of(model, group)
    if not rows:
        return None
    if len(rows) == 1:
        return _Point(value=rows[0]["accuracy"], low=rows[0]["low"], high=rows[0]["high"])
    cells = [section.cells[model.name, c.label] for c in group.conditions]
    scores = np.mean([cell.correct[np.argsort(cell.ids)] for cell in cells], axis=0)
    low, high = metrics.mean_interval(scores)
    return _Point(value=mean_accuracy(rows), low=low, high=high, members=[row["accuracy"] for row in rows])


def _place(model: ModelRecord) -> str:
    return "float" if model.is_float else bits(model.weight_bits, model.act_bits)


def _dodge(count: int) -> list[float]:
    """Offsets that keep up to `count` markers at one tick apart."""
    width = min(0.5, 0.12 * (count - 1))
    return list(np.linspace(-width / 2, width / 2, count)) if count > 1 else [0.0]


PANEL = Panel(name="plots", title="Plots", shows=plots)
