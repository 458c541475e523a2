import math

import pytest

from bitproof.train.schedules import SCHEDULES


@pytest.mark.parametrize(
    ("name", "milestones", "decay", "expected"),
    [
        ("constant", (), 0.1, {0: 1, 0.5: 1, 1: 1}),
        ("cosine", (), 0.1, {0: 1, 0.25: (1 + math.sqrt(0.5)) / 2, 0.5: 0.5, 1: 0}),
        ("steps", (0.3, 0.6), 0.2, {0: 1, 0.29: 1, 0.3: 0.2, 0.59: 0.2, 0.6: 0.04, 1: 0.04}),
        ("exponential", (), 1e-4, {0: 1, 0.5: 1e-2, 1: 1e-4}),
        ("one-cycle", (), 0.1, {0: 1 / 25, 0.15: (1 + 1 / 25) / 2, 0.3: 1, 0.65: (1 + 1 / 25e4) / 2, 1: 1 / 25e4}),
        ("cyclic", (), 0.1, {0: 0, 0.25: 0.5, 0.5: 1, 0.75: 0.5, 1: 0}),
    ],
)
def test_factors_by_hand(name, milestones, decay, expected):
    for progress, factor in expected.items():
        assert SCHEDULES[name](progress, milestones, decay) == pytest.approx(factor, abs=1e-12), progress
