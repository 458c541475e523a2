"""Attacks without a budget: the distance within which half of the images have a wrong one."""

from bitproof import metrics
from bitproof.report.panels.base import Panel
from bitproof.report.rows import Row
from bitproof.report.sections import Section


def distances(section: Section) -> list[Row]:
    """The rows of `metrics.distances`, one attack after the other."""
    return sorted(metrics.distances(list(section.cells.values())), key=lambda row: row["condition"])


PANEL = Panel(name="distances", title="Distances", shows=distances)
