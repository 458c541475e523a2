"""What a metric is: scores an example, the value that follows from their means, and which way is better.

A metric is computed from the cells of one model, or from those of a model and of its reference. A new one is a file
that makes a `Metric`, and a line in `METRICS` (`table.py`); tables, terminal and report show it from then on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Shaped

from bitproof.errors import InputError, kind_of
from bitproof.metrics.intervals import Estimate, Scores
from bitproof.metrics.paired import DETAIL, flipped
from bitproof.metrics.pairing import same_examples, taken
from bitproof.metrics.parts import Parts
from bitproof.metrics.statistic import MEAN, Statistic
from bitproof.records import Cell

RATE = (0.0, 1.0)
DROP_BOUNDS = (-np.inf, 1.0)
"""Bounds of a share, and of the share of something that is lost: a gain has no limit."""

_SLACK = 1e-9
"""By how much rounding may take a value out of its bounds."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The cells that a metric is computed from: the same examples in each, in the order of their ids.

    Attributes:
        cells: of one model, those of the kinds that the metric needs, the clean one first where it needs one.
        reference: those of its reference under the same conditions; empty unless the metric compares.
    """

    cells: tuple[Cell, ...]
    reference: tuple[Cell, ...] = ()

    @property
    def correct(self) -> Bool[np.ndarray, "conditions n"]:
        """Whether the model is right, under each condition."""
        return np.stack([cell.correct for cell in self.cells])

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each condition."""
        return tuple(cell.condition.group for cell in self.cells)

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.cells[0].ids)


def select(cells: Sequence[Cell], reference: Sequence[Cell] = ()) -> Selection:
    """The cells on the examples that all of their conditions could be made of: a file that a decoder refuses says
    nothing about a model.

    Raises:
        InputError: the cells hold different examples.
    """
    both = same_examples([*cells, *reference])
    made = np.all([cell.predictions >= 0 for cell in both], axis=0)
    if not made.all():
        both = [taken(cell, np.flatnonzero(made)) for cell in both]
    return Selection(cells=tuple(both[: len(cells)]), reference=tuple(both[len(cells) :]))


def _any_cell(cell: Cell) -> bool:
    """Most metrics suit every cell of a kind."""
    return True


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a metric means, which way is better, and how it follows from cells.

    Attributes:
        name, symbol: for programs and for people.
        description, source: what it is, and where it is defined.
        bounds: least and greatest value.
        needs: kinds of condition; the metric is computed for models that have cells of each.
        suits: which cells of the last kind can be used, for what only some hold: targets, or one of `values`.
        least: how many conditions of the last kind it takes.
        each: one value for each condition of the last kind, instead of one over all of them.
        parts: one value for each part of these conditions, see `bitproof.metrics.parts`.
        compares: the model with the reference, which has to have cells under the same conditions.
        scores: from the cells to [k, n], k numbers an example.
        statistic: the value that follows from the scores, with its interval; their mean, if k is 1.
        counted: what the conditions are called where reports say of how many the value is made.
    """

    name: str
    symbol: str
    description: str
    source: str
    higher_is_better: bool
    bounds: tuple[float, float]
    needs: tuple[str, ...]
    suits: Callable[[Cell], bool] = _any_cell
    least: int = 1
    each: bool = False
    parts: Parts | None = None
    compares: bool = False
    scores: Callable[[Selection], Scores]
    statistic: Statistic = MEAN
    counted: str = ""


def estimate(
    metric: Metric, cells: Sequence[Cell], reference: Sequence[Cell] = (), *, confidence: float = 0.95
) -> Estimate | None:
    """The metric and its interval, low <= value <= high; None where it is undefined (no example right).

    Over the examples that all conditions could be made of. The ends are None where no interval is known that holds, or
    where there are too few examples for one.

    Args:
        metric: one of `METRICS`, or your own.
        cells: of the conditions that the metric needs, the clean one first.
        reference: the reference's under the same conditions, for metrics that compare.
        confidence: of the interval, in (0, 1).

    Raises:
        InputError: the cells hold different examples.
    """
    return estimate_selection(metric, select(cells, reference), confidence)


def estimate_selection(metric: Metric, selection: Selection, confidence: float = 0.95) -> Estimate | None:
    """The same from cells that are paired already."""
    if not selection.n:
        return None
    scores = _checked(metric, metric.scores(selection), selection.n)
    value = metric.statistic.of(scores)
    if np.isnan(value):
        return None
    if not metric.bounds[0] - _SLACK <= value <= metric.bounds[1] + _SLACK:
        raise InputError(
            f"metric {metric.name!r} has the value {value:.6g}",
            rule=f"its bounds are {metric.bounds[0]:g} and {metric.bounds[1]:g}",
            remedy="Give it other bounds, or other scores",
        )
    interval = metric.statistic.interval(scores, confidence)
    if interval is None:
        return value, None, None
    low, high = np.clip(interval, *metric.bounds)
    return value, min(float(low), value), max(float(high), value)


def _checked(metric: Metric, scores: Any, n: int) -> Scores:
    """What a metric gave for n examples, if it can be what it should.

    Raises:
        InputError: it cannot.
    """
    if not (isinstance(scores, np.ndarray) and scores.ndim == 2 and scores.shape[1] == n):
        given = f"an array of shape {scores.shape}" if isinstance(scores, np.ndarray) else kind_of(scores)
        raise InputError(
            f"metric {metric.name!r} gave {given} for {n} examples",
            rule="its scores are an array with a row for each mean that it is made of, and a column an example",
            remedy="Return scores[None] where there is one mean",
        )
    return scores


def counted(metric: Metric, selection: Selection) -> int:
    """How many examples the metric is a mean or a share of."""
    among = metric.statistic.among
    return selection.n if among is None or not selection.n else among(metric.scores(selection))


def difference(
    metric: Metric, cells: Sequence[Cell], reference: Sequence[Cell], *, confidence: float = 0.95
) -> tuple[Estimate, float] | None:
    """How far a model is from its reference in a metric, on the same examples; None where either has no value.

    Returns:
        The difference with its interval, and the p-value of a sign-flip test: were the two models alike, swapping
        their answers on any example would be as likely as not.
    """
    own, other = len(cells), len(reference)
    both = select([*cells, *reference]).cells
    if not len(both[0].ids):
        return None
    a, b = metric.scores(Selection(cells=both[:own])), metric.scores(Selection(cells=both[own : own + other]))
    found = metric.statistic.of(a) - metric.statistic.of(b)
    if np.isnan(found):
        return None
    low, high = metric.statistic.difference(a, b, confidence) or (None, None)
    if low is not None and high is not None:
        width = metric.bounds[1] - metric.bounds[0]
        low, high = max(-width, low), min(width, high)
    return (found, low, high), flipped(a, b, metric.statistic.value, draws=DETAIL)


def correct(selection: Selection) -> Scores:
    """Whether the model is right, a row a condition."""
    return selection.correct


def group_means(selection: Selection) -> Scores:
    """How often the model is right: over the conditions of a group, then over the groups."""
    return mean_over_groups(selection.correct, selection.groups)[None]


def mean_over_groups(
    values: Shaped[np.ndarray, " conditions *n"] | Sequence[float], groups: Sequence[str]
) -> Float64[np.ndarray, "*n"]:
    """The mean over the first axis within each group, then over the groups: severities first, then kinds."""
    values, of = np.asarray(values), np.array(groups)
    means = [values[of == group].mean(axis=0) for group in dict.fromkeys(groups)]
    return np.asarray(np.mean(means, axis=0))
