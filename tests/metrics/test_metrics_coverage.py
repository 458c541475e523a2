"""How often the intervals hold the truth: exactly for pairs, by simulation with fixed seeds for the rest."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import gammaln, ndtri

from bitproof.metrics import mean_difference_interval, mean_interval, paired_interval
from bitproof.metrics.calibration import BINS, ECE
from bitproof.metrics.ratios import ratio_difference_interval, ratio_interval
from bitproof.metrics.spreads import spread_interval

RATES = (0.005, 0.02, 0.5, 0.98, 0.995)
REPEATS, ENOUGH = 300, 0.92


def answers(draw: np.random.Generator, rates: list[float], n: int, together: float = 0.95) -> np.ndarray:
    """Right or wrong [k, n] at these rates, the same examples being hard under all k conditions."""
    margin = together**0.5 * draw.standard_normal(n) + (1 - together) ** 0.5 * draw.standard_normal((len(rates), n))
    return margin < ndtri(np.array(rates))[:, None]


def covered(interval: Callable[[np.random.Generator], tuple[float, float] | None], truth: float) -> float:
    draw = np.random.default_rng(0)
    found = [interval(draw) for _ in range(REPEATS)]
    return float(np.mean([ends is None or ends[0] - 1e-12 <= truth <= ends[1] + 1e-12 for ends in found]))


@pytest.mark.parametrize("n", [20, 60])
def test_paired_differences_hold_for_all_outcomes(n: int) -> None:
    b, c = np.mgrid[: n + 1, : n + 1]
    b, c = b[b + c <= n], c[b + c <= n]
    ends = np.array([paired_interval(int(i), int(j), n) for i, j in zip(b, c, strict=True)])
    assert (ends[:, 1] - ends[:, 0] > 0).all()
    ways = gammaln(n + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(n - b - c + 1)
    for discord in (0.002, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4):
        for share in (0, 0.25, 0.5, 0.75, 0.9):
            p, q = discord * (1 + share) / 2, discord * (1 - share) / 2
            chance = np.exp(ways + b * np.log(p) + c * np.log(q) + (n - b - c) * np.log(1 - p - q))
            holds = (ends[:, 0] <= p - q) & (p - q <= ends[:, 1])
            assert chance.sum() == pytest.approx(1) and chance[holds].sum() >= 0.93, (discord, share)


@pytest.mark.parametrize("n", [20, 60, 200])
def test_means_over_conditions_hold(n: int) -> None:
    for rate in RATES:

        def mean(draw: np.random.Generator, rate: float = rate) -> tuple[float, float]:
            return mean_interval(answers(draw, [rate] * 5, n).mean(axis=0))

        assert covered(mean, rate) >= ENOUGH, rate
        models = [rate] * 5, [min(rate + 0.004, 0.999)] * 5

        def difference(
            draw: np.random.Generator, models: tuple[list[float], list[float]] = models
        ) -> tuple[float, float]:
            both = answers(draw, models[0] + models[1], n)
            return mean_difference_interval(both[:5].mean(axis=0), both[5:].mean(axis=0))

        assert covered(difference, models[0][0] - models[1][0]) >= ENOUGH, rate


@pytest.mark.parametrize("n", [20, 60, 200])
def test_flips_that_are_rare_and_clustered_hold(n: int) -> None:
    for rate in (0.005, 0.02, 0.3):

        def flips(draw: np.random.Generator, rate: float = rate) -> tuple[float, float]:
            return mean_interval(draw.binomial(30, draw.beta(2 * rate, 2 * (1 - rate), n)) / 30)

        assert covered(flips, rate) >= ENOUGH, rate


@pytest.mark.parametrize("n", [20, 60, 200])
@pytest.mark.parametrize(
    ("clean", "shifted", "k"), [(0.9, 0.7, 5), (0.99, 0.97, 5), (0.998, 0.995, 5), (0.15, 0.05, 5), (0.9, 0.01, 1)]
)
def test_drops_hold(n: int, clean: float, shifted: float, k: int) -> None:
    rates = [clean, *[shifted] * k]

    def ratio(draw: np.random.Generator) -> tuple[float, float] | None:
        right = answers(draw, rates, n)
        return ratio_interval(right[0], right[1:].mean(axis=0))

    def difference(draw: np.random.Generator) -> tuple[float, float] | None:
        right = answers(draw, rates * 2, n)
        a, b = right[: k + 1], right[k + 1 :]
        return ratio_difference_interval((a[0], b[0]), (a[1:].mean(axis=0), b[1:].mean(axis=0)))

    assert covered(ratio, shifted / clean) >= ENOUGH
    assert covered(difference, 0) >= ENOUGH


@pytest.mark.parametrize("n", [20, 60, 200, 1000])
@pytest.mark.parametrize(
    "rates", [[0.9, 0.9, 0.89], [0.995, 0.995, 0.992], [0.8, 0.85, 0.9], [0.9] * 3, list(np.linspace(0.99, 0.998, 14))]
)
def test_spreads_hold(n: int, rates: list[float]) -> None:
    truth = float(np.std(rates, ddof=1))
    assert covered(lambda draw: spread_interval(answers(draw, rates, n)), truth) >= ENOUGH


@pytest.mark.parametrize("n", [60, 200, 1000])
@pytest.mark.parametrize("excess", [0.0, 0.01, 0.1])
def test_calibration_errors_hold(n: int, excess: float) -> None:
    for make in (lambda draw, n: draw.uniform(0.3, 1, n), lambda draw, n: 1 - draw.beta(0.3, 8, n)):

        def gaps(draw: np.random.Generator, n: int, make: Callable = make) -> np.ndarray:
            claimed = make(draw, n)
            wrong = claimed - (draw.random(n) < np.clip(claimed - excess, 0, 1))
            bins = np.ceil(claimed * BINS).clip(1, BINS).astype(int) - 1
            return np.where(np.arange(BINS)[:, None] == bins, wrong, 0.0)

        claimed = make(np.random.default_rng(1), 400_000)
        truth = float((claimed - np.clip(claimed - excess, 0, 1)).mean())
        assert covered(lambda draw, gaps=gaps: ECE.statistic.interval(gaps(draw, n), 0.95), truth) >= ENOUGH


def test_the_fixed_seeds_would_notice_a_bootstrap() -> None:
    """The percentile interval of a mean of 5 conditions misses 0.995 most of the time."""

    def bootstrap(draw: np.random.Generator) -> tuple[float, float]:
        scores = answers(draw, [0.995] * 5, 60).mean(axis=0)
        means = scores[draw.integers(60, size=(500, 60))].mean(axis=1)
        return tuple(np.quantile(means, [0.025, 0.975]))

    assert covered(bootstrap, 0.995) < 0.7
