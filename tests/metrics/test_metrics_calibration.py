"""The calibration error by hand, against a loop, and its interval."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from bitproof.metrics import ECE, estimate, summary
from metric_cells import make_cell, values


def test_calibration_error_by_hand() -> None:
    # Two examples at 0.9 and 0.91, which share a bin, one of them right; one wrong at 0.05; one right at 1, which the
    # last bin holds: (2 * |0.905 - 0.5| + 0.05 + 0) / 4.
    cell = replace(make_cell([1, 0, 0, 1]), confidences=np.array([0.9, 0.91, 0.05, 1], np.float32))
    (found,) = [row for row in summary([cell]) if row["metric"] == "ece"]
    assert found["value"] == pytest.approx((0.81 + 0.05) / 4)
    assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1


def test_calibration_error_agrees_with_a_loop_over_bins() -> None:
    draw = np.random.default_rng(0)
    cell = replace(make_cell(draw.random(500) < 0.7), confidences=draw.random(500, np.float32))
    edges, gap = np.linspace(0, 1, 16), 0.0
    for low, high in pairwise(edges):
        inside = (cell.confidences > low) & (cell.confidences <= high)
        gap += inside.sum() * abs(cell.correct[inside].mean() - cell.confidences[inside].mean()) / 500
    assert values([cell])["ece", ""] == pytest.approx(gap, abs=1e-6)


def test_the_interval_of_the_calibration_error_reaches_the_truth() -> None:
    # A model that is right exactly as often as it claims: by chance alone the value is far from 0, each draw further.
    draw, covered = np.random.default_rng(0), 0
    for _ in range(60):
        confidences = draw.uniform(0.3, 1, 200).astype(np.float32)
        cell = replace(make_cell(draw.random(200) < confidences), confidences=confidences)
        found = estimate(ECE, [cell])
        assert found is not None and found[0] > 0.02
        covered += found[1] == 0
    assert covered >= 57
