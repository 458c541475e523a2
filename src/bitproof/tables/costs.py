"""What a table costs, about, before anything is made."""

from bitproof.tables.table import Table

SPEED = {"smoke": 2e10, "reduced": 2e10, "full": 5e12}
"""Multiply-accumulates a second: of two cores, and of one large GPU in float32; well below what they can at most."""


def hours(table: Table, scale: str) -> float:
    """Of a table's first setting."""
    return table.passes(scale) * table.study[scale](table.settings[0]).macs / SPEED[scale] / 3600


def told(table: Table) -> str:
    """A table in a line: what it shows, what it needs or the scales that it can be had at, and their costs."""
    also = f" ({', '.join(table.figures)} too)" if table.figures else ""
    if table.needs:
        return f"{table.title}{also}. Needs {table.needs}."
    costs = [f"{scale} {_count(table.passes(scale))} passes, {_time(hours(table, scale))}" for scale in table.study]
    return f"{table.title}{also}. At most: {'; '.join(costs)}."


def _count(passes: int) -> str:
    for size, word in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if passes >= size:
            return f"{passes / size:.3g} {word}"
    return str(passes)


def _time(hours: float) -> str:
    return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h" if hours >= 0.1 else f"{60 * hours:.1f} min"
