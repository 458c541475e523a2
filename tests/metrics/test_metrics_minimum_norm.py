"""Attacks without a budget: curves and distances."""

from dataclasses import replace

import numpy as np
import pytest

from bitproof import metrics
from bitproof.errors import InputError
from bitproof.records import ARRAYS
from metric_cells import make_cell


def test_the_robust_accuracy_curve_by_hand():
    # wrong when clean; broken at 0.1; broken at 0.3; never broken, although the best try went 0.2 far
    cell = replace(make_cell([0, 0, 0, 1], kind="minimum"), l2=np.array([0, 0.1, 0.3, 0.2], np.float32))
    curve = metrics.robust_accuracy_curve(cell, [0, 0.05, 0.1, 0.25, 0.3, 9], "l2")
    assert curve.tolist() == [0.75, 0.75, 0.5, 0.5, 0.25, 0.25]
    with pytest.raises(InputError, match="unknown norm 'l3'"):
        metrics.robust_accuracy_curve(cell, [0.1], "l3")


def test_distances_by_hand():
    # two wrong when clean, one that nothing breaks, and eight with a wrong image at 0.1, 0.2, ... 0.8 in linf
    far = np.array([0, 0, 0.9, *np.arange(1, 9) / 10], np.float32)
    cell = make_cell([0, 0, 1] + [0] * 8, kind="minimum")
    cell = replace(cell, linf=far, condition=replace(cell.condition, label="fmn-9", norm="linf"))
    row, other = metrics.distances([make_cell([1] * 11), cell, replace(cell, model=replace(cell.model, name="b"))])
    assert (row["model"], other["model"]) == ("float", "b")
    assert (row["condition"], row["norm"], row["n"], row["found"]) == ("fmn-9", "linf", 9, 8)
    assert (row["median"], row["mean"]) == pytest.approx((0.5, 0.45))
    # of nine values the second and the eighth: 1 - 2 * P(at most one of nine coins) = 0.961
    assert (row["low"], row["high"]) == pytest.approx((0.2, 0.8))
    strong = replace(cell, predictions=cell.labels, linf=np.zeros(11, np.float32))
    (row,) = metrics.distances([strong])
    assert (row["n"], row["found"], row["median"], row["mean"]) == (11, 0, np.inf, None)
    few = replace(cell, **{name: getattr(cell, name)[:5] for name in ARRAYS})
    (row,) = metrics.distances([few])
    assert (row["median"], row["low"], row["high"]) == (pytest.approx(0.2), None, None)
    (row,) = metrics.distances([replace(cell, predictions=cell.labels - 1, linf=np.zeros(11, np.float32))])
    assert (row["n"], row["median"], row["mean"]) == (0, None, None)


def test_a_distance_that_is_no_number_is_refused():
    cell = replace(make_cell([0, 0], kind="minimum"), l2=np.array([0.1, np.nan], np.float32))
    for compute in (lambda: metrics.robust_accuracy_curve(cell, [1], "l2"), lambda: metrics.distances([cell])):
        with pytest.raises(InputError, match="l2 distances of model 'float' under 'minimum' hold NaN"):
            compute()
    never = replace(cell, predictions=cell.labels)
    assert metrics.robust_accuracy_curve(never, [1], "l2").tolist() == [1]
