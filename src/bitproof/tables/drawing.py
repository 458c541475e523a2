"""An outcome as a picture: a panel a column, our numbers with their intervals and the printed ones."""

import base64
import io
import math
from typing import TYPE_CHECKING

from bitproof.tables.outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 4
"""Panels beside each other."""


def draw(outcome: Outcome) -> "Figure":
    """Rows down, a panel for each column, as a matplotlib figure: dots and intervals are ours, rings the paper's."""
    from matplotlib.figure import Figure

    rows = list(dict.fromkeys(entry.row for entry in outcome.entries))
    columns = list(dict.fromkeys(entry.column for entry in outcome.entries)) or [""]
    across = min(ACROSS, len(columns))
    down = math.ceil(len(columns) / across)
    size = (2.2 + 1.9 * across, down * (0.9 + 0.2 * len(rows)))
    figure = Figure(figsize=size, layout="constrained", dpi=110)
    panels = figure.subplots(down, across, squeeze=False, sharey=True)
    for axes, column in zip(panels.flat, columns, strict=False):
        for entry in (entry for entry in outcome.entries if entry.column == column):
            place = rows.index(entry.row)
            if entry.value is not None:
                low = entry.value if entry.low is None else entry.low
                high = entry.value if entry.high is None else entry.high
                error = [[entry.value - low], [high - entry.value]]
                axes.errorbar(entry.value, place, xerr=error, fmt="o", color="#0b5fa5", markersize=4, capsize=2)
            if entry.difference is not None and entry.value is not None:
                printed = entry.value - entry.difference
                axes.plot(printed, place, "o", markerfacecolor="none", color="#b3400a", markersize=7)
        axes.set_title(column, fontsize="small", parse_math=False)
        axes.set_yticks(range(len(rows)), rows, fontsize="small", parse_math=False)
        axes.tick_params(axis="x", labelsize="small")
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0, 0].invert_yaxis()
    for axes in panels.flat[len(columns) :]:
        axes.set_visible(False)
    figure.suptitle("dots and intervals: ours; rings: the paper's", fontsize="small")
    return figure


def png(outcome: Outcome) -> bytes:
    """The picture as a file, equal bytes for equal outcomes."""
    stream = io.BytesIO()
    draw(outcome).savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def embedded(outcome: Outcome) -> str:
    """The picture as an address that a page holds itself."""
    return "data:image/png;base64," + base64.b64encode(png(outcome)).decode()
