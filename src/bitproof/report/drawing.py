"""Small plots as inline SVG whose colours are those of the page, light or dark."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitproof.report.looks import COLOURS, Look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Matplotlib wants real colours, the page wants variables that follow light and dark: these stand in for them.
INK, FAINT = "#00fe01", "#00fe02"
_MODELS = {f"m{i}": f"#00fd{i:02x}" for i in range(COLOURS)}
_VARIABLES = {INK: "var(--ink)", FAINT: "var(--line)"} | {stand_in: f"var(--{m})" for m, stand_in in _MODELS.items()}

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


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One plot: its title, what it shows, the same in words for screen readers, and the SVG."""

    title: str
    note: str
    description: str
    svg: str


@contextmanager
def page_style() -> Iterator[None]:
    """Matplotlib's defaults with the page's colours, whatever the user has set for other plots."""
    from matplotlib import style

    with style.context(["default", _STYLE]):
        yield


def marker_and_colour(look: Look) -> tuple[str, str]:
    """A model's marker, and the colour that stands in for its own."""
    return look.marker, _MODELS[look.colour]


def svg_of(figure: "Figure", prefix: str) -> str:
    """A figure for the page; `prefix` keeps its ids apart from those of other plots."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
    )
    svg = buffer.getvalue()
    svg = re.sub(r"<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)  # it would style the whole page
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg
