"""A ratio of two means over the same examples: Fieller's interval (Fieller 1954), and the difference of two ratios."""

import math

import numpy as np

from bitproof.metrics.intervals import Interval, Vector, student_quantile, unseen_interval

UNSEEN_ANSWER = 1.0
"""Weight of each of the two examples that a ratio is given beside those seen; less does not hold near a total loss."""


def ratio_interval(below: Vector, above: Vector, confidence: float = 0.95) -> Interval | None:
    """Of mean(above) / mean(below), numbers in [0, 1]: all ratios r for which mean(above - r * below) may be 0.

    An example with `below` alone and one with `above` alone are added, as nothing that was not seen is impossible.
    Where the lower mean is not clearly above 0 the set has no end: None.
    """
    n, total = below.size, below.size + 2 * UNSEEN_ANSWER
    if n == 1:
        return None
    x, y = np.append(below, (1, 0)).astype(float), np.append(above, (0, 1)).astype(float)
    weights = np.append(np.ones(n), (UNSEEN_ANSWER, UNSEEN_ANSWER)) / total
    mean_x, mean_y = float(weights @ x), float(weights @ y)
    noise = student_quantile(confidence, n - 1) ** 2 / (total - 1)
    (xx, xy), (_, yy) = noise * np.cov(np.stack([x, y]), aweights=weights, ddof=0)
    # (mean_y - r mean_x)^2 <= yy - 2 r xy + r^2 xx
    a, b, c = mean_x**2 - xx, mean_x * mean_y - xy, mean_y**2 - yy
    if a <= 0:
        return None
    root = math.sqrt(max(0.0, b**2 - a * c))
    return max(0.0, float(b - root) / a), float(b + root) / a


def ratio_difference_interval(
    below: tuple[Vector, Vector], above: tuple[Vector, Vector], confidence: float = 0.95
) -> Interval | None:
    """Of the difference of two ratios on the same examples, the first less the second; None where one is undefined
    or there is a single example.

    What each example adds to the two ratios, to first order, is one number, whose mean has Student's interval.
    """
    if below[0].size == 1 or min(part.mean() for part in below) == 0:
        return None
    ratios = [float(y.mean() / x.mean()) for x, y in zip(below, above, strict=True)]
    parts = [(y - r * x) / x.mean() for x, y, r in zip(below, above, ratios, strict=True)]
    low, high = unseen_interval(parts[0] - parts[1], 1 / min(float(x.mean()) for x in below), confidence)
    shift = ratios[0] - ratios[1]
    return low + shift, high + shift
