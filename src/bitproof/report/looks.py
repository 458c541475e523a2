"""How a model looks: its colour and its marker, the same in every table and plot of a section."""

from collections.abc import Sequence
from dataclasses import dataclass

from bitproof.records import ModelRecord

COLOURS = 7
"""How many model colours the style sheet defines, as --m0, --m1, ...; --m0 is the reference's."""

MARKERS = (("o", "●"), ("s", "■"), ("D", "◆"), ("P", "✚"), ("X", "✖"), ("*", "★"), ("p", "⬟"), ("h", "⬢"))
"""Matplotlib's markers and the characters that look like them; more than colours, so that pairs do not repeat soon."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """A colour of the style sheet ("m0"), a marker of Matplotlib's, and the character that looks like it."""

    colour: str
    marker: str
    character: str


def looks(models: Sequence[ModelRecord]) -> dict[str, Look]:
    """The look of each model by its name."""
    return {
        model.name: Look(colour=f"m{i % COLOURS}", marker=marker, character=character)
        for i, model in enumerate(models)
        for marker, character in [MARKERS[i % len(MARKERS)]]
    }
