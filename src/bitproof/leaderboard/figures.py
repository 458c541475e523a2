"""Accuracy under a threat against bytes and against clean accuracy, with the Pareto front, as SVG."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bitproof.leaderboard.board import Ranking, Row
from bitproof.report.drawing import FAINT, INK, marker_and_colour, page_style, svg_of
from bitproof.report.looks import COLOURS, MARKERS, Look
from bitproof.report.text import bits, percent

NAMED = 14
"""Points that have room for their bits."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure: its title, its front in words, and the SVG."""

    title: str
    description: str
    svg: str


def figures(ranking: Ranking, architectures: Sequence[str]) -> list[Figure]:
    """What a ranking looks like; models whose bytes are not known are left out of the first.

    Args:
        ranking: two models or more.
        architectures: all of the board, which gives each its marker.
    """
    if len(ranking.rows) < 2:
        return []
    clean = [] if ranking.threat.kind == "clean" else [_figure(ranking, architectures, "clean accuracy in %", _clean)]
    sized = [row for row in ranking.rows if row.place.entry.model.bytes]
    of_bytes = [_figure(ranking, architectures, "size in kB", _kilobytes)] if len(sized) > 1 else []
    return [*of_bytes, *clean]


def front(rows: Sequence[Row], cost: Callable[[Row], float | None]) -> list[Row]:
    """The rows that no other one beats in both: none costs no more and is better, by rising cost."""
    known = sorted((c, -row.rate.value, i) for i, row in enumerate(rows) if (c := cost(row)) is not None)
    found, best = list[Row](), -1.0
    for _, value, i in known:
        if -value > best:
            found.append(rows[i])
            best = -value
    return found


def look(architecture: str, architectures: Sequence[str]) -> Look:
    """Marker and colour of an architecture."""
    place = list(architectures).index(architecture)
    marker, character = MARKERS[place % len(MARKERS)]
    return Look(colour=f"m{place % COLOURS}", marker=marker, character=character)


def _kilobytes(row: Row) -> float | None:
    size = row.place.entry.model.bytes
    return size / 1000 if size else None


def _clean(row: Row) -> float:
    return 100 * row.clean.value


def _figure(ranking: Ranking, architectures: Sequence[str], xlabel: str, x: Callable[[Row], float | None]) -> Figure:
    from matplotlib.figure import Figure as Canvas

    by_size = x is _kilobytes
    best = front(ranking.rows, x if by_size else lambda row: -row.clean.value)
    with page_style():
        canvas = Canvas(figsize=(4.6, 3.0))
        axes = canvas.subplots(gridspec_kw={"left": 0.11, "right": 0.98, "bottom": 0.16, "top": 0.97})
        points = [(x(row), 100 * row.rate.value) for row in best]
        axes.plot(*zip(*points, strict=True), color=FAINT, linewidth=5, solid_joinstyle="round", zorder=1)
        for row in ranking.rows:
            if (at := x(row)) is None:
                continue
            entry, rate = row.place.entry, row.rate
            marker, colour = marker_and_colour(look(entry.architecture, architectures))
            ends = [[100 * max(0.0, rate.value - rate.low)], [100 * max(0.0, rate.high - rate.value)]]
            size = 7 if row in best else 5
            axes.errorbar([at], [100 * rate.value], ends, fmt=marker, color=colour, ms=size, elinewidth=1, capsize=2)
            if len(ranking.rows) <= NAMED:
                name = "float" if entry.model.is_float else bits(entry.model.weight_bits, entry.model.act_bits)
                axes.annotate(name, (at, 100 * rate.value), (6, 4), textcoords="offset points", size=8, color=INK)
        if by_size:
            axes.set_xscale("log")
            axes.minorticks_off()
            sizes = sorted({at for row in ranking.rows if (at := x(row)) is not None})
            ticks = [tick for tick in _ROUND if sizes[0] / 2 <= tick <= 2 * sizes[-1]]
            axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        else:
            low, high = axes.get_xlim()
            axes.set_xlim(low - 2, min(high + 4, 103))
        low, high = axes.get_ylim()
        axes.set(xlabel=xlabel, ylim=(max(low, -2), min(high, 102)))
        axes.grid(linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        drawn = svg_of(canvas, f"{ranking.slug}{'b' if by_size else 'c'}-")
    named = ", ".join(f"{row.place.entry.model.name} ({percent(row.rate.value)}%)" for row in best)
    return Figure(title=f"accuracy against {xlabel}", description=f"On the front: {named}", svg=drawn)


_ROUND = [step * 10**power for power in range(9) for step in (1, 3)]
"""Kilobytes at which an axis may have a tick."""
