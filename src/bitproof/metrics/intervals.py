"""How sure a number is: Wilson's interval for a plain rate, a bootstrap over examples for everything else.

One set of weights over the examples serves all conditions of a draw, as the same examples were tested under each.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float64

from bitproof.errors import InputError

CHUNK = 2**21
"""Weights held at a time while resampling; bounds the memory (16 MiB) whatever the number of examples."""

Scores = Bool[np.ndarray, "k n"] | Float64[np.ndarray, "k n"]
Interval = tuple[float, float]
Estimate = tuple[float, float, float]
"""A value, and the two ends of its interval."""


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """The Wilson score interval of the rate successes / n (Wilson 1927), inside [0, 1]."""
    if not 0 <= successes <= n or n == 0:
        raise InputError(
            f"{successes} successes of {n}",
            rule="a rate needs at least one example and between 0 and n successes",
            remedy="Pass counts of a data set that is not empty",
        )
    from scipy.stats import binomtest  # here and below: the import takes longer than most uses of this room

    low, high = binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def resample(scores: Scores, *, draws: int, seed: int) -> Float64[np.ndarray, "draws k"]:
    """Bootstrap means of `scores`: n examples drawn with replacement, all k rows together.

    Examples with equal scores are exchangeable, so a draw is one multinomial over the distinct columns. That
    is exact, fast where they are few, and makes the result independent of the order of the examples.
    """
    columns, counts = np.unique(scores, axis=1, return_counts=True)
    n, rng, size = scores.shape[1], np.random.default_rng(seed), max(1, CHUNK // counts.size)
    chunks = [min(size, draws - start) for start in range(0, draws, size)]
    return np.concatenate([rng.multinomial(n, counts / n, chunk) @ columns.T.astype(float) for chunk in chunks]) / n


def percentiles(values: Float[np.ndarray, " draws"], confidence: float) -> Interval:
    """The middle `confidence` of the values; undefined ones (NaN) are left out."""
    low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def share(means: Float[np.ndarray, "*draws k"]) -> Float[np.ndarray, "*draws"]:
    """The first mean itself: the value of a plain rate."""
    return means[..., 0]


def estimate_scores(
    scores: Scores,
    value: Callable[[Float[np.ndarray, "*draws k"]], Float[np.ndarray, "*draws"]] = share,
    *,
    inflated_within: Interval | None = None,
    confidence: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Estimate | None:
    """`value` of the mean scores and its interval, low <= value <= high; None where it is undefined.

    Args:
        scores: [k, n], k numbers an example.
        value: from the means of the scores [..., k] to [...]; NaN where it is undefined.
        inflated_within: bounds of a value that sampling noise makes larger, as it does a spread; None for others.
        confidence: of the interval, in (0, 1).
        draws: bootstrap draws.
        seed: of the draws.
    """
    if scores.shape[1] == 0:
        return None
    found = float(value(scores.mean(axis=1)))
    if np.isnan(found):
        return None
    if scores.dtype == bool and len(scores) == 1:  # a plain rate
        low, high = wilson(int(scores.sum()), scores.shape[1], confidence)
    else:
        low, high = percentiles(value(resample(scores, draws=draws, seed=seed)), confidence)
    if inflated_within is not None:
        # The square of the value is the true one plus sampling noise, and a draw adds the noise once more: where
        # the truth is small, percentiles always miss it and often the value itself. Reflecting the squares about
        # the value takes off the noise of the draw and that of the value.
        ends = np.clip([2 * found**2 - high**2, 2 * found**2 - low**2], *np.square(inflated_within)) ** 0.5
        low, high = (float(end) for end in ends)
    return found, min(low, found), max(high, found)
