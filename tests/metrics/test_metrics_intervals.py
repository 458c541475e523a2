"""Intervals against statsmodels and scipy, by invariances, and in the limit of many examples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as scipy_t
from statsmodels.stats.proportion import proportion_confint

from bitproof.errors import InputError
from bitproof.metrics import (
    ACCURACY,
    MNR,
    NCI,
    SR_DEBIASED,
    estimate,
    mean_difference_interval,
    mean_interval,
    sample_std,
    spreads,
    wilson,
)
from bitproof.metrics.intervals import false_alarms
from bitproof.metrics.statistic import DROP
from metric_cells import Z, stacked


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 50), (7, 50), (25, 50), (50, 50), (49_321, 50_000)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_agrees_with_statsmodels(successes: int, n: int, confidence: float) -> None:
    expected = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    assert wilson(successes, n, confidence) == pytest.approx(expected, abs=1e-12)


def test_false_alarms_of_the_largest_clean_score_and_of_none() -> None:
    """All clean scores lie below the 95% quantile with probability .95^n, which is 5% here; drawn where k is 3."""
    assert false_alarms(19) == pytest.approx(1 - 0.05 ** (1 / 19))
    assert false_alarms(18) == 0.0
    drawn = np.sort(np.random.default_rng(0).random((20_000, 59)), 1)
    assert false_alarms(59) == pytest.approx(np.quantile(1 - drawn[:, -3], 0.95), abs=2e-3)


def test_wilson_of_no_success_is_z2_over_n_plus_z2() -> None:
    assert wilson(0, 20) == pytest.approx((0, Z**2 / (20 + Z**2)), abs=1e-12)


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(deadline=None, max_examples=60)
def test_wilson_contains_the_rate_and_stays_in_the_unit_interval(count: tuple[int, int]) -> None:
    low, high = wilson(*count)
    assert 0 <= low <= count[0] / count[1] <= high <= 1
    assert high - low > 0


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(InputError, match=f"^{successes} successes of {n}: a rate needs at least one example"):
        wilson(successes, n)


@given(st.integers(2, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(deadline=None, max_examples=30)
def test_the_interval_of_one_condition_is_that_of_its_accuracy(count: tuple[int, int]) -> None:
    right = np.arange(count[1]) < count[0]
    for metric in (MNR, ACCURACY):
        found = estimate(metric, stacked([right]))
        assert found is not None and found[1:] == wilson(*count)


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=2, max_size=40).map(np.array))
@settings(deadline=None, max_examples=30)
def test_intervals_mirror_and_do_not_depend_on_the_order(rows: np.ndarray) -> None:
    scores = rows.mean(axis=1)
    low, high = mean_interval(scores)
    assert 0 <= low <= scores.mean() <= high <= 1 and low < high
    assert mean_interval(1 - scores) == pytest.approx((1 - high, 1 - low))
    assert mean_interval(scores[::-1]) == pytest.approx((low, high))
    a, b = rows[:, 0] * 0.5, rows[:, 1] * rows[:, 2] * 0.25
    low, high = mean_difference_interval(a, b)
    assert mean_difference_interval(b, a) == pytest.approx((-high, -low))


def test_many_examples_have_the_normal_intervals() -> None:
    draw, n = np.random.default_rng(0), 100_000
    clean, part = draw.random(n) < 0.8, draw.beta(3, 1, n)
    half = Z * part.std() / np.sqrt(n)
    assert mean_interval(part) == pytest.approx((part.mean() - half, part.mean() + half), rel=1e-4)
    scores = np.stack([clean, clean * part])
    drop, interval = DROP.of(scores), DROP.interval(scores, 0.95)
    assert interval is not None
    (low, high), ratio = interval, 1 - drop
    half = Z * (clean * part - ratio * clean).std() / clean.mean() / np.sqrt(n)
    assert (drop - low, high - drop) == pytest.approx((half, half), rel=0.02)


def test_numbers_outside_the_unit_interval_have_students_interval() -> None:
    scores = np.array([1.0, 5.0, 2.5, 3.0])
    expected = scipy_t.interval(0.95, 3, scores.mean(), scores.std(ddof=1) / 2)
    assert mean_interval(scores) == pytest.approx(expected)


def test_one_example_says_nothing() -> None:
    assert mean_interval(np.array([0.4])) == (0, 1)
    cells = stacked([np.array([True]), np.array([False])])
    assert estimate(NCI, cells) == (1, None, None)
    assert estimate(SR_DEBIASED, cells) == (pytest.approx(0.5**0.5), None, None)


def test_a_spread_that_chance_explains_is_none() -> None:
    # 0.8 accuracy under each of 8 noises: the true spread is 0, but s is that of the noise.
    draw = np.random.default_rng(0)
    squares, found = [], []
    for _ in range(200):
        correct = draw.random((8, 100)) < 0.8
        squares.append(float(sample_std(correct.mean(axis=1))) ** 2)
        found.append(squares[-1] - spreads._moments(correct, unseen=0.0)[1])
    assert np.mean(squares) == pytest.approx(0.8 * 0.2 / 100, rel=0.05)
    assert abs(np.mean(found)) < 3 * np.std(found) / len(found) ** 0.5
