"""Parts of a model's cells over which a metric has a value each, by the label of its row."""

from collections.abc import Callable, Sequence

from bitproof.records import Cell

Parts = Callable[[Sequence[Cell]], dict[str, list[Cell]]]
"""From the cells of a kind to those of each row; none where the rows would say nothing new."""


def each_group(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """One corruption at all its severities, one attack at all its budgets."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.condition.group, []).append(cell)
    return found


def each_budget(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """All attacks at one budget, where there are several.

    Where every norm has as many budgets, the smallest of all norms are one budget, and so on: RobustMQ's small one is
    0.5/255 under linf, 0.5 under l2 and 100 under l1. Otherwise each norm has its own.
    """
    ladders: dict[str, dict[float, list[Cell]]] = {}
    for cell in sorted(cells, key=lambda cell: cell.condition.strength):
        steps = ladders.setdefault(cell.condition.norm or "", {})
        steps.setdefault(cell.condition.strength, []).append(cell)
    columns = [list(steps.values()) for steps in ladders.values()]
    together = len({len(column) for column in columns}) == 1
    budgets = list(zip(*columns, strict=True)) if together else [(step,) for column in columns for step in column]
    if len(budgets) < 2:
        return {}
    return {", ".join(_name(step[0]) for step in budget): [c for step in budget for c in step] for budget in budgets}


def _name(cell: Cell) -> str:
    return f"{cell.condition.norm} {cell.condition.variant}"
