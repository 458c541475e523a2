"""Worst-class change: a hand-made table, and an interval that holds although the worst class is picked."""

import numpy as np
import pytest

from bitproof.metrics import WORST_CLASS, estimate, summary
from metric_cells import make_cell


def test_the_class_that_loses_most_is_found() -> None:
    """Labels are 0 1 0 1 0 1: of class 0 one of three is lost and none won, of class 1 one is lost and one won."""
    reference = make_cell([1, 1, 1, 0, 1, 1])
    quantized = make_cell([0, 0, 1, 1, 1, 1], model="w4", bits=4)
    rows = {row["metric"]: row for row in summary([reference, quantized], "float") if row["model"] == "w4"}
    row = rows["worst_class"]
    assert row["value"] == pytest.approx(-1 / 3) and row["low"] < -1 / 3 < row["high"] and row["n"] == 6
    same = estimate(WORST_CLASS, [reference], [reference])
    assert same is not None and same[0] == 0 and same[1] is not None and same[1] < 0


def test_the_interval_holds_where_all_classes_lose_alike() -> None:
    """The least of the found changes is below the true one on average; the interval knows that it was picked."""
    generator, held, found = np.random.default_rng(0), 0, []
    for _ in range(300):
        before, after = (make_cell(generator.random(200) < share) for share in (0.9, 0.8))
        value, low, high = estimate(WORST_CLASS, [after], [before]) or (0, 0, 0)
        held, found = held + (low <= -0.1 <= high), [*found, value]
    assert held >= 0.95 * 300 and np.mean(found) < -0.11
