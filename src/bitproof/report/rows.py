"""Rows of `metrics.compare` and `metrics.summary`, and what is read out of them in one way everywhere."""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
"""One row of `metrics.compare` or `metrics.summary`."""

SIGNIFICANT = 0.05
"""Level of the Holm-corrected p-values at which a difference is marked."""


def significant(row: Row) -> bool:
    """Whether the row differs from the reference at the level `SIGNIFICANT`."""
    return row["p_holm"] is not None and row["p_holm"] < SIGNIFICANT


def worse(row: Row) -> bool:
    """Whether the model is significantly worse than the reference."""
    return significant(row) and row["difference"] < 0


def better(row: Row) -> bool:
    """Whether the model is significantly better than the reference."""
    return significant(row) and row["difference"] > 0


def mean_accuracy(rows: Sequence[Row]) -> float:
    """The mean of the rows' accuracies; one way for matrix and plots, as two might round a tie apart."""
    return sum(row["accuracy"] for row in rows) / len(rows)
