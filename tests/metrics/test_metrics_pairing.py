"""Cells are paired by example, and refused where they cannot be."""

from dataclasses import replace

import numpy as np
import pytest

from bitproof.errors import InputError
from bitproof.metrics import compare, summary
from bitproof.metrics.pairing import ordered
from bitproof.records import Cell, Pictures
from metric_cells import make_cell, sequence, shuffled


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (make_cell([1, 0, 1], model="w4", first_id=1), "3 examples, 1 of them not among the 3"),
        (make_cell([1, 0], model="w4"), "2 examples, 0 of them not among the 3"),
        (replace(make_cell([1, 0, 1], model="w4"), labels=np.zeros(3, np.int64)), "other labels than those"),
    ],
    ids=["other ids", "fewer", "other labels"],
)
def test_cells_on_different_examples_are_refused(other: Cell, what: str) -> None:
    cells = [make_cell([1, 0, 1]), other]
    message = f"the cell of model 'w4' under 'clean' has {what} of 'float' under 'clean': the comparison is paired"
    with pytest.raises(InputError, match=message):
        compare(cells, "float")
    with pytest.raises(InputError, match=r"Pass the cells of one data set, split and limit\.$"):
        summary(cells)


def test_two_cells_of_one_model_and_condition_are_refused() -> None:
    cells = [make_cell([1, 0]), replace(make_cell([1, 1]), seed=1)]
    with pytest.raises(InputError, match="two cells of model 'float' under 'clean': a table has at most one cell"):
        summary(cells)
    renamed = [make_cell([1, 0]), make_cell([1, 1], label="original")]  # still the clean condition
    with pytest.raises(InputError, match="two cells of model 'float' under 'original'"):
        compare(renamed, "float")


def test_everything_of_an_example_stays_with_it() -> None:
    cell = replace(
        sequence(make_cell([1, 0, 1, 1]), [[i] * 3 for i in range(4)]),
        targets=np.arange(4),
        digests=np.arange(4, dtype=np.uint64),
        values={"radius": np.arange(4.0)},
        confidences=np.arange(4, dtype=np.float32),
        pictures=Pictures(rows=np.array([1, 3]), images=np.array([1, 3], np.float16).reshape(2, 1, 1, 1)),
    )
    order = np.array([2, 0, 3, 1])
    mixed = replace(
        shuffled(cell, order), digests=cell.digests[order], pictures=replace(cell.pictures, rows=np.array([3, 2]))
    )
    found = ordered(mixed)
    assert found.ids.tolist() == cell.ids.tolist() and ordered(cell) is cell
    for array in (found.targets, found.digests, found.values["radius"], found.confidences, found.frames[:, 0]):
        assert array.tolist() == [0, 1, 2, 3]
    assert found.confidences[found.pictures.rows].tolist() == found.pictures.images.ravel().tolist()
