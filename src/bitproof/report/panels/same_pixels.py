"""Conditions that showed the models the same pixels."""

from bitproof import metrics
from bitproof.report.panels.base import Panel
from bitproof.report.rows import Row
from bitproof.report.sections import Section


def same_pixels(section: Section) -> list[Row]:
    """The rows of `metrics.same_pixels`."""
    return metrics.same_pixels(list(section.cells.values()))


PANEL = Panel(name="same_pixels", shows=same_pixels)
