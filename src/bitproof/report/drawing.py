"""Figures as SVG inside a page: their text is text, their colours are the page's, in light and in dark."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bitproof.report.looks import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Matplotlib wants real colours, the page wants variables that follow light and dark: these stand in for them.
INK, FAINT = "#00fe01", "#00fe02"
MODELS = {f"m{i}": f"#00fd{i:02x}" for i in range(COLOURS)}
_VARIABLES = {INK: "var(--ink)", FAINT: "var(--line)"} | {stand_in: f"var(--{m})" for m, stand_in in MODELS.items()}

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: small, sharp, and in the page's font
    "svg.hashsalt": "bitproof",  # equal cells give equal bytes
    "text.parse_math": False,
    "font.size": 9.5,
    "axes.edgecolor": FAINT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Inside, figures look as a page wants them, whatever the user has set for other plots."""
    from matplotlib import style

    with style.context(["default", _STYLE]):
        yield


def svg(figure: "Figure", prefix: str) -> str:
    """The figure as an element of a page; `prefix` keeps its ids apart from those of other figures."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)  # it would style the whole page
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text
