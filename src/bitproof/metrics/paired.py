"""Two models on the same examples: differences and tests, each a function of the answers alone.

The tests swap the answers of the two models on an example, with a coin for each (Fisher's sign flips): were the models
alike, what was found would be nothing special among the results. For right or wrong that is McNemar's exact test.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped

from bitproof.errors import InputError
from bitproof.metrics.intervals import Estimate, Scores, paired_interval

DRAWS, DETAIL = 9_999, 1_999
"""Rounds of coins for all examples: p-values are multiples of 1 / 10,000, and for what is only detail of 1 / 2,000."""

FEWEST, TOSSES = 999, 2**22
"""Where few examples are alike, rounds are as many as make this number of single tosses; `FEWEST` at least."""

_CHUNK = 2**22

A = Shaped[np.ndarray, " a"] | Sequence[bool]
B = Shaped[np.ndarray, " b"] | Sequence[bool]
"""Correctness of two models, example by example; that the lengths agree is checked with a message."""


def rate_above(successes: int, n: int, limit: float) -> float:
    """The exact binomial p-value of the claim that the rate behind `successes` of `n` is above `limit`.

    Example:
        >>> rate_above(3, 3, 0.5)
        0.125
    """
    from scipy.special import bdtrc  # here and below: the import takes longer than most uses of this room

    return float(bdtrc(successes - 1, n, limit)) if successes else 1.0


def mcnemar(a: A, b: B) -> float:
    """The exact two-sided McNemar p-value of two bool [n] arrays of correctness on the same examples.

    Only examples on which the two differ carry information: under the null hypothesis each is a fair coin
    (McNemar 1947). Without any, 1.0.
    """
    a, b = _pair(a, b)
    only = int((a & ~b).sum()), int((b & ~a).sum())
    return min(1.0, 2 * rate_above(max(only), sum(only), 0.5))


def difference_above(a: A, b: B, margin: float) -> float:
    """The one-sided p-value of the claim that the rate of `a` is more than `margin` above that of `b`.

    `a` and `b` are bool [n] on the same examples. The score test of Tango 1998 (Statistics in Medicine 17:891).
    """
    a, b = _pair(a, b)
    n, only_a, only_b = a.size, int((a & ~b).sum()), int((b & ~a).sum())
    # The rate of "b only" that is likeliest where the difference is the margin solves 2n x^2 + p x + q = 0.
    p, q = (2 * n - only_a + only_b) * margin - only_a - only_b, -only_b * margin * (1 - margin)
    likeliest = (math.sqrt(p**2 - 8 * n * q) - p) / (4 * n)
    variance = n * (2 * likeliest + margin * (1 - margin))
    return 0.5 * math.erfc((only_a - only_b - n * margin) / math.sqrt(2 * variance)) if variance > 0 else 1.0


def paired_difference(a: A, b: B, *, confidence: float = 0.95) -> Estimate:
    """accuracy(a) - accuracy(b) in [-1, 1] and its interval (`intervals.paired_interval`).

    `a` and `b` are bool [n], correctness on the same examples.
    """
    a, b = _pair(a, b)
    low, high = paired_interval(int((a & ~b).sum()), int((b & ~a).sum()), a.size, confidence)
    found = float(a.mean() - b.mean())
    return found, min(low, found), max(high, found)


def flipped(
    a: Scores,
    b: Scores,
    value: Callable[[Float[np.ndarray, "*draws k"]], Float[np.ndarray, "*draws"]],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> float:
    """The two-sided sign-flip p-value of value(means of a) - value(means of b), scores [k, n] on the same examples.

    Where the difference of one score can only be 0 or one size, it is exact.
    """
    changes = a.astype(float) - b
    sizes = np.unique(np.abs(changes[changes != 0]))
    if sizes.size == 0:
        return 1.0
    if len(changes) == 1 and sizes.size == 1:
        return mcnemar(changes[0] > 0, changes[0] < 0)
    middle, half = (a.mean(axis=1) + b.mean(axis=1)) / 2, _swaps(changes, draws, seed) / (2 * a.shape[1])
    found = np.abs(value(middle + changes.mean(axis=1) / 2) - value(middle - changes.mean(axis=1) / 2))
    drawn = np.abs(value(middle + half) - value(middle - half))
    return float(1 + (~(drawn < found - 1e-9)).sum()) / (1 + len(drawn))  # undefined draws count as extreme


def max_t(changes: Float[np.ndarray, "k n"], *, seed: int = 0) -> Float64[np.ndarray, " k"]:
    """The sign-flip p-values of k mean differences, corrected for being k (Westfall & Young 1993, single step).

    Each is compared with the largest of all under the same coins, which knows that severities of one corruption go
    together. In units of its own standard error; 1 where nothing differs.
    """
    scale = np.sqrt((changes**2).sum(axis=1))
    moved = scale > 0
    adjusted = np.ones(len(changes))
    if moved.any():
        drawn = np.abs(_swaps(changes[moved], DETAIL, seed) / scale[moved]).max(axis=1)
        found = np.abs(changes[moved].sum(axis=1) / scale[moved])
        adjusted[moved] = (1 + (drawn[:, None] >= found - 1e-9).sum(axis=0)) / (1 + len(drawn))
    return adjusted


def holm(p_values: Float[np.ndarray, " tests"] | Sequence[float]) -> Float64[np.ndarray, " tests"]:
    """Holm's step-down adjusted p-values (Holm 1979), in the order of the input.

    Raises:
        InputError: one of them is not a number.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if np.isnan(p).any():
        raise InputError("a p-value is NaN", rule="each is in [0, 1]", remedy="Leave out what was not tested")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)).clip(max=1.0)
    return adjusted


def _swaps(changes: Float[np.ndarray, "k n"], draws: int, seed: int) -> Float64[np.ndarray, "draws k"]:
    """Sums of the changes over all examples, each with a random sign.

    Examples with equal changes, or opposite ones, are exchangeable, so a draw is one binomial for each distinct column.
    That is exact, and makes the result independent of the order of the examples.
    """
    moved = changes[:, changes.any(axis=0)]
    first = np.take_along_axis(moved, (moved != 0).argmax(axis=0)[None], axis=0)
    columns, counts = np.unique(moved * np.sign(first), axis=1, return_counts=True)
    rng, draws = np.random.default_rng(seed), min(draws, max(FEWEST, TOSSES // counts.size))
    size, parts = max(1, _CHUNK // counts.size), list[Float64[np.ndarray, "part k"]]()
    for start in range(0, draws, size):
        shape = min(size, draws - start), counts.size
        if counts.max() == 1:
            bits = rng.integers(256, size=(shape[0], -(-shape[1] // 8)), dtype=np.uint8)
            signs = 2.0 * np.unpackbits(bits, axis=1, count=shape[1]) - 1
        else:
            signs = 2.0 * rng.binomial(counts, 0.5, shape) - counts
        parts.append(signs @ columns.T)
    return np.concatenate(parts)


def _pair(a: A, b: B) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise InputError(
            f"correctness of shapes {a.shape} and {b.shape}",
            rule="a paired comparison needs two vectors over the same examples, at least one",
            remedy="Evaluate both models on the same data",
        )
    return a, b
