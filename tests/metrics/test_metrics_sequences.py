"""Flips over the frames of a sequence."""

from dataclasses import replace

import numpy as np

from bitproof import metrics
from metric_cells import make_cell, sequence, values


def test_flips_by_hand():
    frames = np.array([[0, 1, 1, 0, 2], [3, 3, 3, 3, 3]])
    assert metrics.flips(frames, compared="first").tolist() == [0.75, 0]
    assert metrics.flips(frames, compared="previous").tolist() == [0.75, 0]
    assert metrics.flips(frames, compared="previous", step=2).tolist() == [1.0, 0]  # (0, 1), (1, 0), (1, 2)
    assert metrics.flips(frames, compared="previous", step=3).tolist() == [0.5, 0]  # (0, 0), (1, 2)


def test_flips_follow_the_rule_of_the_condition() -> None:
    frames = [[0, 1, 1, 0, 2], [3, 3, 3, 3, 3]]
    cell = make_cell([1, 1])
    for options, expected in (({"compared": "first"}, 0.375), ({"compared": "previous", "step": 2}, 0.5)):
        assert values([sequence(cell, frames, **options)])["fp", "tilt"] == expected
    unmade = replace(cell, predictions=np.array([-1, 1]))
    assert values([sequence(unmade, frames)])["mfp", ""] == 0  # no clip, so nothing is known of its flips
