"""Two models on the same examples: paired differences, paired tests, and their correction for being many."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Shaped

from bitproof.errors import InputError, lookup
from bitproof.metrics.intervals import Estimate, percentiles, resample, wilson
from bitproof.metrics.moves import NORMS, mean_moves
from bitproof.metrics.pairing import by_model_and_condition
from bitproof.records import Cell

A = Shaped[np.ndarray, " a"] | Sequence[bool]
B = Shaped[np.ndarray, " b"] | Sequence[bool]
"""Correctness of two models, example by example; that the lengths agree is checked with a message."""


def rate_above(successes: int, n: int, limit: float) -> float:
    """The exact binomial p-value of the claim that the rate behind `successes` of `n` is above `limit`.

    Example:
        >>> rate_above(3, 3, 0.5)
        0.125
    """
    from scipy.stats import binomtest

    return float(binomtest(int(successes), int(n), limit, alternative="greater").pvalue)


def mcnemar(a: A, b: B, *, alternative: str = "two-sided") -> float:
    """The exact McNemar p-value of two bool [n] arrays of correctness on the same examples.

    Only examples on which the two differ carry information: under the null hypothesis each is a fair coin
    (McNemar 1947). Without any, 1.0. The alternative "greater" claims that `a` is right more often than `b`.
    """
    a, b = _pair(a, b)
    only_a, differ = int((a & ~b).sum()), int((a ^ b).sum())
    if differ == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_a, differ, alternative=alternative).pvalue)


def paired_difference(a: A, b: B, *, confidence: float = 0.95, draws: int = 10_000, seed: int = 0) -> Estimate:
    """accuracy(a) - accuracy(b) in [-1, 1] and its paired-bootstrap percentile interval.

    `a` and `b` are bool [n], correctness on the same examples. The interval has no width where the two never
    differ: resampling cannot invent a disagreement.
    """
    a, b = _pair(a, b)
    means = resample(np.stack([a, b]), draws=draws, seed=seed)
    low, high = percentiles(means[:, 0] - means[:, 1], confidence)
    return float(a.mean() - b.mean()), low, high


def holm(p_values: Float[np.ndarray, " tests"] | Sequence[float]) -> Float64[np.ndarray, " tests"]:
    """Holm's step-down adjusted p-values (Holm 1979), in the order of the input."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)).clip(max=1.0)
    return adjusted


def compare(cells: Sequence[Cell], reference: str) -> list[dict[str, Any]]:
    """One row a cell, in the given order: its accuracy, its paired difference from the reference, its cost.

    Args:
        cells: of one data set and seed, at most one a model and condition.
        reference: name of the model that the others are compared with, each under the same condition.

    Returns:
        Rows with model, weight_bits, act_bits, kind, condition (its label), group, n; accuracy, low, high (Wilson);
        difference (from the reference), diff_low, diff_high, p_value (McNemar), p_holm (Holm over the table),
        None for the reference and where it has no such cell; l2, linf: how far an attack moved what deceives the model
        (`mean_moves`), None for other conditions; forwards and backwards an example; seconds.

    Raises:
        InputError: an unknown reference, different examples, or two cells of one model and condition.
    """
    table = by_model_and_condition(cells)
    lookup({cell.model.name: cell for cell in cells}, reference, "reference model")
    rows: list[dict[str, Any]] = []
    for (model, condition), cell in table.items():
        correct = cell.correct
        n = correct.size
        low, high = wilson(int(correct.sum()), n)
        difference = diff_low = diff_high = p_value = None
        if model != reference and (reference, condition) in table:
            baseline = table[reference, condition].correct
            difference, diff_low, diff_high = paired_difference(correct, baseline)
            p_value = mcnemar(correct, baseline)
        rows.append(
            {
                "model": model,
                "weight_bits": cell.model.weight_bits,
                "act_bits": cell.model.act_bits,
                "kind": cell.condition.kind,
                "condition": cell.condition.label,
                "group": cell.condition.group,
                "n": n,
                "accuracy": float(correct.mean()),
                "low": low,
                "high": high,
                "difference": difference,
                "diff_low": diff_low,
                "diff_high": diff_high,
                "p_value": p_value,
                "p_holm": None,
                **(mean_moves(cell) if cell.condition.norm else dict.fromkeys(NORMS)),
                "forwards": cell.forwards / n,
                "backwards": cell.backwards / n,
                "seconds": cell.seconds,
            }
        )
    compared = [row for row in rows if row["p_value"] is not None]
    for row, adjusted in zip(compared, holm([row["p_value"] for row in compared]), strict=True):
        row["p_holm"] = float(adjusted)
    return rows


def _pair(a: A, b: B) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    a, b = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise InputError(
            f"correctness of shapes {a.shape} and {b.shape}",
            rule="a paired comparison needs two vectors over the same examples, at least one",
            remedy="Evaluate both models on the same data",
        )
    return a, b
