"""How sure a number is, in closed form: rates, means and paired differences of either.

A sample in which something rare did not happen says little about how rare it is: an interval from the sample's own
spread alone then has no width. So all of these add examples that were not seen, a fraction of one on either side. How
often they hold the truth was measured by simulation (`tests/metrics/test_metrics_coverage.py`).
"""

import math
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float, Float64

from bitproof.errors import InputError

UNSEEN = 0.25
"""Weight of each of the two examples that a mean is given beside those seen, at the ends of the range."""

UNSEEN_PAIR = 0.05
"""The same for a mean difference: of each of the two pairs in which only one model is right, throughout."""

Scores = Bool[np.ndarray, "k n"] | Float64[np.ndarray, "k n"]
Vector = Bool[np.ndarray, " n"] | Float[np.ndarray, " n"]
Interval = tuple[float, float]
Estimate = tuple[float, float | None, float | None]
"""A value, and the two ends of its interval; None where there is none."""


def normal_quantile(confidence: float) -> float:
    """What a standard normal variable stays below, in size, with this probability: 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def student_quantile(confidence: float, degrees: int) -> float:
    """The same for Student's t; infinite without degrees of freedom."""
    from scipy.special import stdtrit  # here: the import takes longer than most uses of this room

    return float(stdtrit(degrees, (1 + confidence) / 2)) if degrees > 0 else math.inf


def wilson(successes: float, n: float, confidence: float = 0.95) -> Interval:
    """The Wilson score interval of the rate successes / n (Wilson 1927), inside [0, 1]; n may be an effective one."""
    if not 0 <= successes <= n or n == 0:
        raise InputError(
            f"{successes} successes of {n}",
            rule="a rate needs at least one example and between 0 and n successes",
            remedy="Pass counts of a data set that is not empty",
        )
    z2, rate = normal_quantile(confidence) ** 2, successes / n
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 / n * (rate * (1 - rate) + z2 / (4 * n))) / (1 + z2 / n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return low, 1.0 if successes == n else min(1.0, centre + half)


def false_alarms(clean: int, level: float = 0.05, confidence: float = 0.95) -> float:
    """At most so many clean cases are called suspicious for a rank within `level` among given clean ones, with this
    confidence: the rate of one score follows Beta(k, clean + 1 - k), k = level (clean + 1) rounded down (Bates et al.
    2021, arXiv 2104.08279). On average over such sets it is k / (clean + 1), `level` at most.

    Example:
        >>> round(false_alarms(59), 3)
        0.103
    """
    from scipy.special import betaincinv  # here: the import takes longer than most uses of this room

    k = math.floor(level * (clean + 1) + 1e-9)
    return float(betaincinv(k, clean + 1 - k, confidence)) if k else 0.0


def mean_interval(scores: Vector, confidence: float = 0.95) -> Interval:
    """Of the mean of numbers in [0, 1], one an example: Wilson's, with an effective number of examples.

    Mean and variance, with an example of 0 and one of 1 added, say how many yes-or-no answers would be as uncertain as
    these numbers (after Korn & Graubard 1998, for surveys); never fewer than there are. Yes or no alone is a rate.
    Numbers that leave [0, 1] have Student's interval.
    """
    n, mean = scores.size, float(scores.mean())
    if scores.dtype == bool or np.isin(scores, (0, 1)).all():
        return wilson(round(n * mean), n, confidence)
    if scores.min() < 0 or scores.max() > 1:
        half = student_quantile(confidence, n - 1) * float(scores.std(ddof=1) / math.sqrt(n)) if n > 1 else math.inf
        return mean - half, mean + half
    if n == 1:
        return 0.0, 1.0
    total = n + 2 * UNSEEN
    centre = (n * mean + UNSEEN) / total
    variance = (((scores - centre) ** 2).sum() + UNSEEN * (centre**2 + (1 - centre) ** 2)) / (total - 1)
    tails = normal_quantile(confidence) / student_quantile(confidence, n - 1)
    effective = n * max(1.0, centre * (1 - centre) / variance) * tails**2
    return wilson(effective * min(max(mean, 0.0), 1.0), effective, confidence)


def paired_interval(only_a: int, only_b: int, n: int, confidence: float = 0.95) -> Interval:
    """Of the difference of two rates on the same n examples: Bonett & Price 2012, J. Educ. Behav. Stat. 37:479.

    Args:
        only_a, only_b: on how many examples one of the two is right and the other is not.
        n: number of examples.
        confidence: of the interval, in (0, 1).
    """
    a, b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    half = normal_quantile(confidence) * math.sqrt((a + b - (a - b) ** 2) / (n + 2))
    return max(-1.0, a - b - half), min(1.0, a - b + half)


def mean_difference_interval(a: Vector, b: Vector, confidence: float = 0.95) -> Interval:
    """Of the mean of a - b, numbers in [0, 1] on the same examples: Student's, with two pairs of +-1 added.

    Yes or no alone is a paired difference of rates (`paired_interval`).
    """
    differences = a.astype(float) - b
    if np.isin(differences, (-1, 0, 1)).all():
        return paired_interval(int((differences > 0).sum()), int((differences < 0).sum()), a.size, confidence)
    low, high = unseen_interval(differences, 1.0, confidence)
    return max(-1.0, low), min(1.0, high)


def unseen_interval(differences: Float[np.ndarray, " n"], size: float, confidence: float) -> Interval:
    """Student's interval of a mean, with an example of `size` and one of -`size` added, each of `UNSEEN_PAIR`."""
    n, total = differences.size, differences.size + 2 * UNSEEN_PAIR
    if n == 1:
        return -math.inf, math.inf
    mean = float(differences.mean())
    variance = float(((differences - mean) ** 2).sum() + 2 * UNSEEN_PAIR * (size**2 + mean**2)) / (total - 1)
    half = student_quantile(confidence, n - 1) * math.sqrt(variance / total)
    return mean - half, mean + half
