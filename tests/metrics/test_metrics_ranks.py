"""Ranks: models that tests do not tell apart share them, and the true ranks lie in the ranges."""

import numpy as np
import pytest

from bitproof.metrics import mcnemar
from bitproof.metrics.intervals import mean_difference_interval
from bitproof.metrics.paired import flipped
from bitproof.metrics.ranks import pair_p_values, rank_ranges
from bitproof.metrics.statistic import MEAN


def rates(generator, of, n):
    return np.stack([generator.random(n) < rate for rate in of]).astype(float)


def test_pairs_of_right_and_wrong_are_mcnemar_tests():
    scores = rates(np.random.default_rng(0), (0.5, 0.55, 0.8, 0.8), 60)
    found = pair_p_values(scores)
    for i in range(4):
        for j in range(4):
            assert found[i, j] == pytest.approx(mcnemar(scores[i] > 0, scores[j] > 0), abs=1e-12)


def test_pairs_of_means_are_sign_flip_tests():
    generator = np.random.default_rng(1)
    scores = np.stack([generator.integers(0, 6, 400) / 5 for _ in range(3)])
    scores[2] = np.clip(scores[1] - 0.2 * (generator.random(400) < 0.08), 0, 1)
    found = pair_p_values(scores)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        drawn = flipped(scores[i][None], scores[j][None], MEAN.value)
        assert found[i, j] == pytest.approx(drawn, abs=0.02)
    assert found[1, 2] < 0.001 < found[0, 1]
    assert mean_difference_interval(scores[1], scores[2])[0] > 0


def test_alone_alike_and_apart():
    one = np.array([[1.0, 0.0]])
    assert rank_ranges(one) == [(1, 1)]
    assert rank_ranges(np.repeat(one, 3, axis=0)) == [(1, 3)] * 3
    right = np.zeros((3, 100))
    right[0, :90], right[1, :50], right[2, :10] = 1, 1, 1
    assert rank_ranges(right) == [(1, 1), (2, 2), (3, 3)]
    assert rank_ranges(right[::-1]) == [(3, 3), (2, 2), (1, 1)]


def test_the_order_of_examples_does_not_matter():
    scores = rates(np.random.default_rng(2), (0.4, 0.6, 0.62), 200)
    assert rank_ranges(scores) == rank_ranges(scores[:, ::-1])


def test_all_true_ranks_lie_in_the_ranges_together():
    """Over 400 draws of four models, two of them alike; 95% promised, and 93% is 1.8 standard errors below."""
    generator, held = np.random.default_rng(3), 0
    for _ in range(400):
        ranges = rank_ranges(rates(generator, (0.7, 0.6, 0.6, 0.3), 150))
        true = ((1, 1), (2, 3), (2, 3), (4, 4))
        held += all(low <= first and last <= high for (low, high), (first, last) in zip(ranges, true, strict=True))
    assert held / 400 >= 0.93
