"""Activation clusters: every class of every model as a point, and the corner in which it is suspicious."""

from dataclasses import dataclass

from bitproof.records import Clusters
from bitproof.records.clusters import SILHOUETTE, SMALLER
from bitproof.report.drawing import FAINT, INK, Plot, marker_and_colour, page_style, svg_of
from bitproof.report.panels.base import Panel
from bitproof.report.sections import Section
from bitproof.report.text import numbers


@dataclass(frozen=True, kw_only=True)
class Clustered:
    """The plot of all models' classes, what is said of each model, and its table as (title, columns, rows)."""

    plot: Plot
    words: tuple[tuple[str, list[str]], ...]
    tables: tuple[tuple[str, list[str], list[list[str]]], ...]


def clusters(section: Section) -> list[Clustered]:
    """One plot for the images as they are, and one for each trigger."""
    found: dict[str, list[Clusters]] = {}
    for record in section.of(Clusters):
        found.setdefault(record.trigger, []).append(record)
    with page_style():
        return [
            Clustered(
                plot=_plot(section, records, f"{section.anchor}k{number}-"),
                words=tuple((record.model.name, record.findings) for record in records),
                tables=tuple((record.title, *numbers(record)) for record in records),
            )
            for number, records in enumerate(found.values())
        ]


def _plot(section: Section, records: list[Clusters], prefix: str) -> Plot:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4, 2.7), layout="constrained")
    axes = figure.subplots()
    for record in records:
        marker, colour = marker_and_colour(section.looks[record.model.name])
        for of in record.classes:
            axes.plot([100 * of.share], [of.silhouette], marker, color=colour, ms=4.5)
            if of.number == record.target:
                axes.plot([100 * of.share], [of.silhouette], "o", color=INK, ms=9, fillstyle="none")
    axes.set(xlim=(0, 51), xlabel="smaller cluster, in percent of the class", ylabel="silhouette")
    top = max(axes.get_ylim()[1], SILHOUETTE + 0.05)
    axes.set_ylim(top=top)
    axes.plot([0, 100 * SMALLER, 100 * SMALLER], [SILHOUETTE, SILHOUETTE, top], "--", color=FAINT)
    axes.tick_params(length=0)
    words = "; ".join(
        f"{record.model.name} " + ", ".join(f"{of.silhouette:.3f} at {of.share:.0%}" for of in record.classes)
        for record in records
    )
    trigger = records[0].trigger
    return Plot(
        title="Silhouette and smaller cluster of each class" + (f", {trigger}" if trigger else ""),
        note="suspicious above and left of the dashed line" + ("; ringed: the target" if trigger else ""),
        description=f"Silhouette and share of the smaller cluster of each class: {words}",
        svg=svg_of(figure, prefix),
    )


PANEL = Panel(name="clusters", title="Activation clusters", shows=clusters)
