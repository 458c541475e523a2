"""How much accuracies under several conditions differ in truth: their spread, less what chance adds to it.

The sample standard deviation s of the accuracies holds their true spread and the noise of a finite sample of examples:
E[s^2] = sigma^2 + tr(S) / (n (k - 1)), where S is the covariance of an example's row of k answers less their mean. So s
is too large, the more so the fewer examples, and of two models of equal sigma the one whose answers vary more looks
less robust.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64

from bitproof.metrics.intervals import UNSEEN, Interval, Scores, normal_quantile


def sample_std(accuracies: Float[np.ndarray, "*draws k"] | Sequence[float]) -> Float64[np.ndarray, "*draws"]:
    """The standard deviation over the last axis with n - 1 in the denominator, as printed for Eq. 12."""
    return np.asarray(np.std(accuracies, axis=-1, ddof=1))


def debiased_std(scores: Scores) -> float:
    """The true spread sigma, estimated: the root of s^2 less its noise, 0 where the noise explains all of s."""
    variance, noise, _ = _moments(scores, unseen=0.0)
    return math.sqrt(max(0.0, variance - noise))


def spread_interval(scores: Scores, confidence: float = 0.95) -> Interval | None:
    """Of sigma: all values under which the debiased square of s, with its mean and variance, is no surprise.

    With examples that were not seen: right under one condition alone, and wrong under one alone.
    """
    if scores.shape[1] == 1:
        return None
    variance, noise, _ = _moments(scores, unseen=0.0)
    *_, covariance = _moments(scores, unseen=UNSEEN)
    k, n = scores.shape
    means = scores.mean(axis=1) - scores.mean()
    size = float(means @ means)
    along = float(means @ covariance @ means) / size if size > 0 else np.trace(covariance) / (k - 1)
    found, z2 = variance - noise, normal_quantile(confidence) ** 2
    slope = 4 * along / (n * (k - 1))
    floor = 2 * float((covariance**2).sum()) / (n * (k - 1)) ** 2
    # (found - x)^2 <= z2 (slope x + floor), a quadratic in x = sigma^2
    centre = found + z2 * slope / 2
    root = math.sqrt(max(0.0, centre**2 - found**2 + z2 * floor))
    return math.sqrt(max(0.0, centre - root)), math.sqrt(max(0.0, centre + root))


def _moments(scores: Scores, *, unseen: float) -> tuple[float, float, Float64[np.ndarray, "k k"]]:
    """s^2, its noise, and the covariance of centred rows with `unseen` further examples a side."""
    k, n = scores.shape
    rows = scores - scores.mean(axis=0)
    rows = rows - rows.mean(axis=1, keepdims=True)
    covariance = (rows @ rows.T + 2 * unseen * (np.eye(k) - 1 / k)) / max(1, n - 1 + 2 * unseen)
    variance = float(scores.mean(axis=1).var(ddof=1))
    return variance, float(np.trace(covariance)) / (n * (k - 1)), covariance
