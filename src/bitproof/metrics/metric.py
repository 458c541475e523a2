"""What a metric is: scores an example, the value that follows from their means, and which way is better.

A metric is computed from the cells of one model, or from those of a model and of its reference. A new one is a file
that makes a `Metric`, and a line in `METRICS` (`table.py`); tables, terminal and report show it from then on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped

from bitproof.metrics.intervals import Estimate, Scores, estimate_scores, share
from bitproof.metrics.pairing import same_examples
from bitproof.metrics.parts import Parts
from bitproof.records import Cell

RATE = (0.0, 1.0)
DROP = (-np.inf, 1.0)
"""Bounds of a share, and of the share of something that is lost: a gain has no limit."""


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
        value: from the means of the scores [..., k] to the metric [...]; NaN where it is undefined.
        inflated: sampling noise makes the value larger, as it does a spread or a sum of gaps (`estimate_scores`).
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
    value: Callable[[Float[np.ndarray, "*draws k"]], Float[np.ndarray, "*draws"]] = share
    inflated: bool = False
    counted: str = ""


def estimate(
    metric: Metric,
    cells: Sequence[Cell],
    reference: Sequence[Cell] = (),
    *,
    confidence: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Estimate | None:
    """The metric and its interval, low <= value <= high; None where it is undefined (no example right).

    Args:
        metric: one of `METRICS`, or your own.
        cells: of the conditions that the metric needs, the clean one first.
        reference: the reference's under the same conditions, for metrics that compare.
        confidence: of the interval, in (0, 1).
        draws: bootstrap draws.
        seed: of the draws.

    Raises:
        InputError: the cells hold different examples.
    """
    both = same_examples([*cells, *reference])
    selection = Selection(cells=tuple(both[: len(cells)]), reference=tuple(both[len(cells) :]))
    return estimate_scores(
        metric.scores(selection),
        metric.value,
        inflated_within=metric.bounds if metric.inflated else None,
        confidence=confidence,
        draws=draws,
        seed=seed,
    )


def correct(selection: Selection) -> Scores:
    """Whether the model is right, a row a condition."""
    return selection.correct


def group_means(selection: Selection) -> Scores:
    """How often the model is right: over the conditions of a group, then over the groups."""
    return mean_over_groups(selection.correct, selection.groups)[None]


def relative_drop(
    clean: Float[np.ndarray, "*n"] | Sequence[float] | float,
    perturbed: Float[np.ndarray, "*n"] | Sequence[float] | float,
) -> Float64[np.ndarray, "*n"]:
    """(clean - perturbed) / clean, at most 1 and negative for a gain; NaN where clean is 0.

    Xiao et al. 2023 (RobustMQ, Visual Intelligence 1:30), Eqs. 4, 7 and 11.
    """
    clean, perturbed = np.broadcast_arrays(np.asarray(clean, float), np.asarray(perturbed, float))
    return np.divide(clean - perturbed, clean, out=np.full(clean.shape, np.nan), where=clean != 0)


def impact(means: Float[np.ndarray, "*draws k"]) -> Float[np.ndarray, "*draws"]:
    """`relative_drop` from the first mean to the second; a single mean is that share already."""
    return share(means) if means.shape[-1] == 1 else relative_drop(means[..., 0], means[..., 1])


def mean_over_groups(
    values: Shaped[np.ndarray, " conditions *n"] | Sequence[float], groups: Sequence[str]
) -> Float64[np.ndarray, "*n"]:
    """The mean over the first axis within each group, then over the groups: severities first, then kinds."""
    values, of = np.asarray(values), np.array(groups)
    means = [values[of == group].mean(axis=0) for group in dict.fromkeys(groups)]
    return np.asarray(np.mean(means, axis=0))
