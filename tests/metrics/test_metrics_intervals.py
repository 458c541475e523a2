"""Intervals of rates and of resampled metrics against statsmodels and loops over examples."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from bitproof import metrics
from bitproof.errors import InputError
from bitproof.metrics import AAI, MNR, NCI, SR, estimate, intervals, relative_drop, resample, sample_std, wilson
from metric_cells import Z, stacked


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 50), (7, 50), (25, 50), (50, 50), (49_321, 50_000)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_agrees_with_statsmodels(successes: int, n: int, confidence: float) -> None:
    expected = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    assert wilson(successes, n, confidence) == pytest.approx(expected, abs=1e-12)


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


def test_resample_has_the_mean_and_covariance_of_the_bootstrap() -> None:
    scores = np.random.default_rng(0).random((3, 50))
    scores[1] = scores[0] > 0.5
    means = resample(scores, draws=20_000, seed=0)
    spread = np.cov(scores, bias=True) / 50  # exact: a mean of 50 independent draws of the columns
    assert means.shape == (20_000, 3)
    assert means.mean(axis=0) == pytest.approx(scores.mean(axis=1), abs=5 * np.sqrt(spread.max() / 20_000))
    assert np.cov(means.T) == pytest.approx(spread, abs=0.05 * spread.max())


def test_resample_holds_a_chunk_of_weights_and_does_not_depend_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).random((2, 2000))

    def run() -> tuple[np.ndarray, int]:
        tracemalloc.start()
        means = resample(scores, draws=500, seed=7)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return means, peak

    whole, large = run()
    monkeypatch.setattr(intervals, "CHUNK", 14_000)
    chunked, small = run()
    assert chunked == pytest.approx(whole, rel=1e-12)
    assert large > 8 * 500 * 2000  # bytes of all the weights at once
    assert small < 1_000_000


@pytest.mark.parametrize("metric", [AAI, NCI, MNR], ids=lambda m: m.name)
def test_intervals_match_a_loop_over_examples(metric: metrics.Metric) -> None:
    draw = np.random.default_rng(5)
    n = 200
    skill = draw.random(n)
    rates = {"aai": [0.1, 0.6], "nci": [0.1, 0.3, 0.5, 0.6], "mnr": [0.3, 0.5, 0.6]}[metric.name]
    correct = np.stack([skill + 0.2 * draw.standard_normal(n) > rate for rate in rates])
    groups = {"aai": ["", ""], "nci": ["", "fog", "fog", "snow"], "mnr": ["fog", "fog", "snow"]}[metric.name]

    def by_hand(rows: np.ndarray) -> float:
        accuracies = [row.mean() for row in rows]
        if metric is AAI:
            return 1 - accuracies[1] / accuracies[0]
        *clean, fog_1, fog_5, snow = accuracies
        mean = ((fog_1 + fog_5) / 2 + snow) / 2
        return 1 - mean / clean[0] if clean else mean

    loop = [by_hand(correct[:, draw.integers(n, size=n)]) for _ in range(3000)]
    found = estimate(metric, stacked(correct, groups), draws=3000)
    assert found is not None
    value, low, high = found
    assert value == pytest.approx(by_hand(correct))
    assert (low, high) == pytest.approx(np.quantile(loop, [0.025, 0.975]), abs=0.15 * np.ptp([low, high]))


def test_the_two_intervals_of_aai_agree_where_both_hold() -> None:
    draw = np.random.default_rng(0)
    clean = draw.random(3000) < 0.8
    attacked = clean & (draw.random(3000) < 0.4)
    found = estimate(AAI, stacked([clean, attacked]))
    drops = relative_drop(*resample(np.stack([clean, attacked]), draws=4000, seed=0).T)
    assert found is not None
    assert found[1:] == pytest.approx(np.quantile(drops, [0.025, 0.975]), abs=0.003)


def test_systematic_robustness_interval_covers_the_true_spread() -> None:
    # 0.8 accuracy under each of 8 noises: the true spread is 0. Percentiles of the draws never reach down to it.
    draw = np.random.default_rng(0)
    covered, by_percentiles = 0, 0
    for _ in range(60):
        easy = draw.random(300) < 0.8
        correct = np.stack([np.where(draw.random(300) < 0.1, draw.random(300) < 0.8, easy) for _ in range(8)])
        found = estimate(SR, stacked(correct), draws=200)
        assert found is not None
        assert found[1] <= found[0] <= found[2]
        covered += found[1] < 1e-3
        by_percentiles += np.quantile(sample_std(resample(correct, draws=200, seed=0)), 0.025) < 1e-3
    assert covered >= 54
    assert by_percentiles == 0
