"""Which cells belong together: the same examples in the same order, the same condition."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bitproof.errors import InputError
from bitproof.records import ARRAYS, Cell
from bitproof.settings import digest


def ordered(cell: Cell) -> Cell:
    """The cell with its examples in the order of their ids."""
    order = np.argsort(cell.ids)
    if np.array_equal(order, np.arange(order.size)):
        return cell
    arrays = {name: getattr(cell, name) for name in (*ARRAYS, "frames", "digests", "targets")}
    return replace(
        cell,
        **{name: array[order] for name, array in arrays.items() if array is not None},
        values={name: array[order] for name, array in cell.values.items()},
        pictures=replace(cell.pictures, rows=np.argsort(order)[cell.pictures.rows]),
    )


def same_examples(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, each in the order of the ids.

    Raises:
        InputError: they hold different examples.
    """
    sorted_cells = [ordered(cell) for cell in cells]
    for cell in sorted_cells:
        _check_same_examples(cell, sorted_cells[0])
    return sorted_cells


def by_model_and_condition(cells: Sequence[Cell]) -> dict[tuple[str, str], Cell]:
    """The cells by the name of their model and by `condition_identity`, each in the order of the ids.

    Raises:
        InputError: different examples, or two cells of one model and condition.
    """
    table: dict[tuple[str, str], Cell] = {}
    for cell in same_examples(cells):
        key = cell.model.name, condition_identity(cell)
        if key in table:
            raise InputError(
                f"two cells of model {cell.model.name!r} under {cell.condition.label!r}",
                rule="a table has at most one cell a model and condition",
                remedy="Pass the cells of one seed, and give different models different names",
            )
        table[key] = cell
    return table


def condition_identity(cell: Cell) -> str:
    """What makes the condition another one. There is one clean condition, whatever it is called."""
    c = cell.condition
    return c.kind if c.kind == "clean" else digest(c.label, c.identity)


def _check_same_examples(cell: Cell, other: Cell) -> None:
    if not np.array_equal(cell.ids, other.ids):
        new = np.setdiff1d(cell.ids, other.ids).size
        what = f"{cell.ids.size} examples, {new} of them not among the {other.ids.size}"
    elif not np.array_equal(cell.labels, other.labels):
        what = "other labels than those"
    else:
        return
    raise InputError(
        f"the cell of model {cell.model.name!r} under {cell.condition.label!r} has {what} of {other.model.name!r} "
        f"under {other.condition.label!r}",
        rule="the comparison is paired, so all cells of a table must hold the same examples",
        remedy="Pass the cells of one data set, split and limit",
    )
