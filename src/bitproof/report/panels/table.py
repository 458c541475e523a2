"""All results, to be sorted and filtered."""

from bitproof.report.panels.base import Panel
from bitproof.report.rows import Row
from bitproof.report.sections import Section


def table(section: Section) -> list[Row]:
    """Every row of the comparison with the reference."""
    return list(section.rows.values())


PANEL = Panel(name="table", title="Table", shows=table)
