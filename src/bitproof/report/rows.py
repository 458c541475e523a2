"""Rows of `metrics.compare` and `metrics.summary`, and what is read out of them in one way everywhere."""

from collections.abc import Sequence
from typing import Any

from bitproof.metrics import Verdict

Row = dict[str, Any]
"""One row of `metrics.compare` or `metrics.summary`."""

SIGNIFICANT = 0.05
"""Level of the corrected p-values at which a difference is marked."""


def row_sign(row: Row) -> int:
    """-1 where the model of a row of `metrics.compare` is significantly worse than the reference, 1 better, else 0."""
    return _sign(row["difference"], row["p_adjusted"])


def verdict_sign(verdict: Verdict | None) -> int:
    """The same of a test; 0 where nothing was tested."""
    if verdict is None:
        return 0
    return _sign(-verdict.difference if verdict.flips else verdict.difference, verdict.p_adjusted)


def _sign(gain: float | None, p: float | None) -> int:
    if gain is None or p is None or p >= SIGNIFICANT:
        return 0
    return (gain > 0) - (gain < 0)


def mean_accuracy(rows: Sequence[Row]) -> float:
    """The mean of the rows' accuracies; one way for matrix and plots, as two might round a tie apart."""
    return sum(row["accuracy"] for row in rows) / len(rows)
