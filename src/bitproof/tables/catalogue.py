"""All tables, by paper and number."""

from bitproof.errors import lookup
from bitproof.tables import bernhard2019, hong2021, li2024, lin2019, xiao2023
from bitproof.tables.papers import PAPERS
from bitproof.tables.table import Table

TABLES: tuple[Table, ...] = (
    *bernhard2019.TABLES,
    *hong2021.TABLES,
    *li2024.TABLES,
    *lin2019.TABLES,
    *xiao2023.TABLES,
)
"""In the order of the papers' names and numbers."""


def table_of(paper: str, number: str) -> Table:
    """A table by its number, or by that of a figure that shows the same numbers: "table3", "3", "figure1".

    Raises:
        InputError: an unknown paper, table or figure.
    """
    lookup(PAPERS, paper, "paper")
    own = {table.number: table for table in TABLES if table.paper == paper}
    drawn = {figure: table for table in reversed(own.values()) for figure in table.figures}
    name = f"table{number}" if number.isdecimal() else number
    return lookup({**drawn, **own}, name, f"table of {paper}")
