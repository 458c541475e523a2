"""Whether one class stands out among all: thresholds that hold where there are only ten.

Detectors invert a trigger for each class and call the smallest one a backdoor where it lies further from the others
than two robust standard deviations. With ten classes that flags one in three clean models, were the logarithms normal;
3.9 flag one in twenty (by simulation, `tests/audit/test_audit_outliers.py`).
"""

import math
import statistics
from collections.abc import Sequence

DEVIATIONS = 3.9
"""Robust standard deviations, for ten classes."""

DEVIATIONS_OF_FOUR = 5.6
"""The same where the largest of four such values is looked at."""

SPREAD = 0.15
"""Least robust standard deviation of logarithms to base 2 that is believed: few classes may agree by chance."""

LEAST = 1e-12


def doublings(value: float, others: Sequence[float]) -> float:
    """By how many doublings a value lies below the median of others.

    Example:
        >>> doublings(1.0, [2.0, 4.0, 8.0])
        2.0
    """
    return math.log2(max(statistics.median(others), LEAST) / max(value, LEAST)) if others else 0.0


def deviations(value: float, others: Sequence[float]) -> float:
    """The same in robust standard deviations (1.4826 MAD) of the logarithms of value and others together."""
    logs = [math.log2(max(size, LEAST)) for size in (value, *others)]
    middle = statistics.median(logs)
    spread = 1.4826 * statistics.median([abs(log - middle) for log in logs])
    return (middle - logs[0]) / max(spread, SPREAD)


def grubbs(values: Sequence[float]) -> float:
    """The p-value of the largest of some values beside the others: Grubbs' test (1969), exact up to Bonferroni where
    they are normal; 1 with fewer than three.

    Example:
        >>> round(grubbs([0.0, 0.1, -0.1, 0.2, -0.2, 1.0]), 4)
        0.0134
    """
    n = len(values)
    mean, spread = (statistics.fmean(values), statistics.stdev(values)) if n > 2 else (0.0, 0.0)
    if not spread:
        return 1.0
    from scipy.special import stdtr  # here: the import takes longer than the test

    g = (max(values) - mean) / spread
    rest = (n - 1) ** 2 - n * g**2
    if rest <= 0:
        return 0.0
    t = math.sqrt(n * (n - 2) * g**2 / rest)
    return min(1.0, n * float(stdtr(n - 2, -t)))
