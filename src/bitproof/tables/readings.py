"""A number of ours in a table: the scores of all examples that it follows from, so that two can be paired."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from bitproof.metrics import SHARE, Metric, flipped
from bitproof.metrics.intervals import Estimate, Scores
from bitproof.metrics.metric import select
from bitproof.metrics.statistic import Statistic
from bitproof.records import Cell
from bitproof.tables.printed import Key

Mask = Bool[np.ndarray, " n"]
"""Yes or no, an example each."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """One number.

    Attributes:
        row, column: where it stands.
        scores: [k, n], k an example.
        statistic: the number that follows from them, in the units of the package (rates in [0, 1]).
        bounds: least and greatest value.
    """

    row: str
    column: str
    scores: Scores
    statistic: Statistic
    bounds: tuple[float, float]

    @property
    def key(self) -> Key:
        return self.row, self.column

    @property
    def n(self) -> int:
        """How many examples it is a mean or a share of."""
        among = self.statistic.among
        return self.scores.shape[1] if among is None else among(self.scores)

    @property
    def estimate(self) -> Estimate | None:
        """The value and the ends of its 95% interval, None where none is known; None where it is undefined."""
        if not self.scores.shape[1]:
            return None
        value = self.statistic.of(self.scores)
        if np.isnan(value):
            return None
        interval = self.statistic.interval(self.scores, 0.95)
        if interval is None:
            return value, None, None
        low, high = np.clip(interval, *self.bounds)
        return value, min(float(low), value), max(float(high), value)


def reading(row: str, column: str, metric: Metric, cells: Sequence[Cell]) -> Reading:
    """A metric of cells as a number of a table.

    Args:
        row, column: where it stands.
        metric: what is computed.
        cells: of the conditions that the metric needs, the clean one first.
    """
    selection = select(cells)
    return Reading(
        row=row, column=column, scores=metric.scores(selection), statistic=metric.statistic, bounds=metric.bounds
    )


def rate(row: str, column: str, of: Mask, those: Mask) -> Reading:
    """Of the examples in `of`, the share that is in `those` too."""
    scores = np.stack([of, of & those])
    return Reading(row=row, column=column, scores=scores, statistic=SHARE, bounds=(0.0, 1.0))


def difference(one: Reading, other: Reading) -> tuple[float, float] | None:
    """How far one number is above another of the same kind on the same examples, and the p-value of a sign-flip test:
    were the two alike, swapping them on any example would be as likely as not. None where either is undefined."""
    a, b = one.scores, other.scores
    if a.shape != b.shape or not a.shape[1]:
        return None
    found = one.statistic.of(a) - other.statistic.of(b)
    return None if np.isnan(found) else (found, flipped(a, b, one.statistic.value))
