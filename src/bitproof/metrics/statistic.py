"""What follows from the scores of all examples: a value, its interval, and that of the difference of two models."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from bitproof.metrics.intervals import (
    Interval,
    Scores,
    mean_difference_interval,
    mean_interval,
    student_quantile,
    wilson,
)
from bitproof.metrics.ratios import ratio_difference_interval, ratio_interval
from bitproof.metrics.spreads import debiased_std, sample_std, spread_interval


def _none(*_: object) -> None:
    """No interval is known that holds."""


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """How a number follows from scores [k, n], k an example.

    Attributes:
        value: from the means of the scores [..., k] to the number [...]; NaN where it is undefined.
        estimate: the number from the scores themselves, where it is more than `value` of their means.
        interval: from the scores and a confidence to the two ends; None where there is none.
        difference: the same for two models, the first less the second, from the scores of both on the same examples.
        among: how many examples the number is a share of, where these are not all.
    """

    value: Callable[[Float[np.ndarray, "*draws k"]], Float[np.ndarray, "*draws"]]
    estimate: Callable[[Scores], float] | None = None
    interval: Callable[[Scores, float], Interval | None] = _none
    difference: Callable[[Scores, Scores, float], Interval | None] = _none
    among: Callable[[Scores], int] | None = None

    def of(self, scores: Scores) -> float:
        """The number; NaN where it is undefined."""
        return float(self.value(scores.mean(axis=1))) if self.estimate is None else self.estimate(scores)


def relative_drop(
    clean: Float[np.ndarray, "*n"] | Sequence[float] | float,
    perturbed: Float[np.ndarray, "*n"] | Sequence[float] | float,
) -> Float64[np.ndarray, "*n"]:
    """(clean - perturbed) / clean, at most 1 and negative for a gain; NaN where clean is 0.

    Xiao et al. 2023 (RobustMQ, Visual Intelligence 1:30), Eqs. 4, 7 and 11.
    """
    clean, perturbed = np.broadcast_arrays(np.asarray(clean, float), np.asarray(perturbed, float))
    return np.divide(clean - perturbed, clean, out=np.full(clean.shape, np.nan), where=clean != 0)


def _first(means: Float[np.ndarray, "*draws k"]) -> Float[np.ndarray, "*draws"]:
    return means[..., 0]


def _second_of_first(means: Float[np.ndarray, "*draws k"]) -> Float[np.ndarray, "*draws"]:
    below, above = means[..., 0], means[..., 1]
    return np.divide(above, below, out=np.full(below.shape, np.nan), where=below != 0)


def _among(scores: Scores, confidence: float) -> Interval:
    return wilson(int(scores[1].sum()), int(scores[0].sum()), confidence)


def _ratios(a: Scores, b: Scores, confidence: float) -> Interval | None:
    return ratio_difference_interval((a[0], b[0]), (a[1], b[1]), confidence)


def _mirrored(interval: Interval | None, around: float) -> Interval | None:
    return None if interval is None else (around - interval[1], around - interval[0])


MEAN = Statistic(
    value=_first,
    interval=lambda scores, confidence: mean_interval(scores[0], confidence),
    difference=lambda a, b, confidence: mean_difference_interval(a[0], b[0], confidence),
)
"""The mean of one score, such as right or wrong, or a share of conditions."""


def within(top: float) -> Statistic:
    """The mean of one score in [0, top], as `MEAN` is of one in [0, 1]."""

    def scaled(interval: Interval) -> Interval:
        return top * interval[0], top * interval[1]

    return Statistic(
        value=_first,
        interval=lambda scores, confidence: scaled(mean_interval(scores[0] / top, confidence)),
        difference=lambda a, b, confidence: scaled(mean_difference_interval(a[0] / top, b[0] / top, confidence)),
    )


def _student(scores: Float[np.ndarray, " n"], confidence: float) -> Interval:
    n, mean = scores.size, float(scores.mean())
    half = student_quantile(confidence, n - 1) * float(scores.std(ddof=1) / math.sqrt(n)) if n > 1 else math.inf
    return mean - half, mean + half


UNBOUNDED = Statistic(
    value=_first,
    interval=lambda scores, confidence: _student(scores[0], confidence),
    difference=lambda a, b, confidence: _student(a[0] - b[0], confidence),
)
"""The mean of one score without a bound, with Student's interval."""


def _lost(scores: Scores, confidence: float) -> Interval | None:
    before, after = scores > 0
    if (after & ~before).any():
        return DROP.interval(scores, confidence)
    return _among(np.stack([before, before & ~after]), confidence)


SHARE = Statistic(
    value=_second_of_first, interval=_among, difference=_ratios, among=lambda scores: int(scores[0].sum())
)
"""Of the examples that have the first score, the share that has the second too. Both are yes or no."""

DROP = Statistic(
    value=lambda means: relative_drop(means[..., 0], means[..., 1]),
    interval=lambda scores, confidence: _mirrored(ratio_interval(scores[0], scores[1], confidence), 1.0),
    difference=lambda a, b, confidence: _mirrored(_ratios(a, b, confidence), 0.0),
)
"""`relative_drop` from the mean of the first score to that of the second, both in [0, 1]."""

LOSS = Statistic(value=DROP.value, interval=_lost, difference=DROP.difference)
"""The same of yes or no, where what is lost is not found again: the share, of the examples that have the first score,
that lack the second, which cannot be below 0. An example that has the second alone makes it a `DROP`."""

SPREAD = Statistic(value=sample_std)
"""The sample standard deviation of the means of all scores. Chance adds to it, so no interval around it holds."""

DEBIASED_SPREAD = Statistic(value=sample_std, estimate=debiased_std, interval=spread_interval)
"""The spread that the means of all scores have in truth."""
