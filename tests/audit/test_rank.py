"""A rank among draws is exact: uniform where nothing is special, whatever the statistics."""

import numpy as np
import pytest

from bitproof.audit.rank import ranked


def test_p_values_count_the_draws_that_reach():
    found = ranked(np.array([3.0]), np.array([[1.0], [2.0], [3.0], [4.0]]), np.ones(1))
    assert found.p_value == pytest.approx(3 / 5) and found.above == 2
    assert ranked(np.array([5.0]), np.arange(99.0)[:, None] / 99, np.ones(1)).p_value == pytest.approx(0.01)


def test_z_is_in_robust_deviations_of_the_draws():
    drawn = np.array([[-2.0], [-1.0], [0.0], [1.0], [2.0]])
    assert ranked(np.array([3 * 1.4826]), drawn, np.full(1, 1e-9)).z[0] == pytest.approx(3)
    assert ranked(np.array([0.5]), np.zeros((9, 1)), np.full(1, 0.1)).z[0] == pytest.approx(5)


def test_draws_that_are_all_alike_make_nothing_special():
    assert ranked(np.zeros(3), np.zeros((9, 3)), np.full(3, 0.1)).p_value == 1


def test_the_corrected_rank_is_uniform_for_dependent_skewed_and_discrete_statistics():
    random, p_values = np.random.default_rng(0), []
    for _ in range(400):
        common = random.normal(size=(20, 1))
        values = np.concatenate(
            [np.exp(common + random.normal(size=(20, 3))), random.poisson(0.3, (20, 4)) / 50 + 0.0 * common], axis=1
        )
        p_values.append(ranked(values[0], values[1:], np.full(7, 0.02)).p_value)
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.085  # 5% +- 3 standard errors, less what ties cost
    assert np.mean(np.array(p_values) <= 0.5) == pytest.approx(0.5, abs=0.08)


def test_each_p_value_is_at_least_the_smallest_one():
    random = np.random.default_rng(1)
    drawn = random.normal(size=(39, 5))
    found = np.array([0.0, 0.0, 30.0, 0.0, 1.0])
    among = ranked(found, drawn, np.full(5, 1e-9))
    assert among.p_value == among.p_values.min() == among.p_values[2] == pytest.approx(1 / 40)
    assert among.p_values[0] > 0.5
