"""Which cells belong together: the same examples in the same order, the same condition."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int64

from bitproof.errors import InputError
from bitproof.records import ARRAYS, FURTHER, Cell, ConditionRecord, Pictures
from bitproof.settings import digest


def ordered(cell: Cell) -> Cell:
    """The cell with its examples in the order of their ids."""
    return cell if (np.diff(cell.ids) > 0).all() else taken(cell, np.argsort(cell.ids))


def taken(cell: Cell, rows: Int64[np.ndarray, " k"]) -> Cell:
    """The cell with the examples at `rows`, in that order."""
    arrays = {name: getattr(cell, name) for name in (*ARRAYS, *FURTHER)}
    places = np.full(cell.ids.size, -1)
    places[rows] = np.arange(rows.size)
    shown = places[cell.pictures.rows]
    return replace(
        cell,
        **{name: array[rows] for name, array in arrays.items() if array is not None},
        values={name: array[rows] for name, array in cell.values.items()},
        pictures=Pictures(rows=shown[shown >= 0], images=cell.pictures.images[shown >= 0]),
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
        key = cell.model.name, condition_identity(cell.condition)
        if key in table:
            raise InputError(
                f"two cells of model {cell.model.name!r} under {cell.condition.label!r}",
                rule="a table has at most one cell a model and condition",
                remedy="Pass the cells of one seed, and give different models different names",
            )
        table[key] = cell
    return table


def condition_identity(c: ConditionRecord) -> str:
    """What makes the condition another one. There is one clean condition, whatever it is called."""
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
