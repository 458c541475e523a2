"""Attacks without a budget: how far off the nearest wrong images are, and accuracy at every budget at once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Float64

from bitproof.errors import InputError, lookup
from bitproof.records import Cell


def minimised_norm(cell: Cell) -> str:
    """The norm that an attack without a budget minimised; "l2" where its record names none."""
    return cell.condition.norm or "l2"


def needed_distances(cell: Cell, norm: str) -> Float32[np.ndarray, " n"]:
    """How far off the nearest wrong image of each example is that an attack without a budget found.

    0 where the clean image is wrong, infinite where it found none.

    Raises:
        InputError: an unknown norm, or a wrong image whose distance is not a number.
    """
    needed = np.where(cell.correct, np.inf, lookup({"linf": cell.linf, "l2": cell.l2, "l1": cell.l1}, norm, "norm"))
    if np.isnan(needed).any():
        raise InputError(
            f"the {norm} distances of model {cell.model.name!r} under {cell.condition.label!r} hold NaN",
            rule="a wrong image lies somewhere: without its distance it is at no budget right or wrong",
            remedy="Compute the cell anew",
        )
    return needed


def robust_accuracy_curve(
    cell: Cell, budgets: Float[np.ndarray, " k"] | Sequence[float], norm: str
) -> Float64[np.ndarray, " k"]:
    """Accuracy within each of `budgets` from one run of an attack that looks for the nearest wrong image.

    An example counts as right at a budget if the attack found no wrong image within it. So the curve is an upper
    bound of the robust accuracy, it never rises, and at 0 it is at most the clean accuracy.

    Args:
        cell: of a minimum-norm attack (`kind` "minimum"); of another attack only its own eps makes sense.
        budgets: radii >= 0 in [0, 1] pixel units.
        norm: of the radii, "linf", "l2" or "l1"; best the one that the attack minimised.
    """
    needed = np.sort(needed_distances(cell, norm))
    return 1 - np.searchsorted(needed, np.asarray(budgets, needed.dtype), side="right") / needed.size


def distances(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """How far off the nearest wrong images are that attacks without a budget found, one row a cell of kind "minimum".

    Over the examples that the model gets right on the clean image.

    Args:
        cells: those of kind "minimum" are used.

    Returns:
        Rows with model, weight_bits, act_bits, condition (the attack's label), norm (the one it minimised), n (examples
        right when clean), found (of how many it found a wrong image); median: the distance within which half of
        them have one, with low and high, its 95% interval by order statistics, infinite where fewer have; mean: of
        those found. None where there are too few examples to tell.
    """
    from scipy.stats import quantile_test

    rows: list[dict[str, Any]] = []
    for cell in cells:
        if cell.condition.kind != "minimum":
            continue
        norm = minimised_norm(cell)
        needed = needed_distances(cell, norm).astype(float)
        needed = needed[needed > 0]
        found = needed[np.isfinite(needed)]
        low = high = median = None
        if len(needed):
            median = float(np.quantile(needed, 0.5, method="inverted_cdf"))
            bounds = quantile_test(needed, p=0.5).confidence_interval(0.95)
            low, high = (None if np.isnan(bound) else float(bound) for bound in (bounds.low, bounds.high))
        rows.append(
            {
                "model": cell.model.name,
                "weight_bits": cell.model.weight_bits,
                "act_bits": cell.model.act_bits,
                "condition": cell.condition.label,
                "norm": norm,
                "n": len(needed),
                "found": len(found),
                "median": median,
                "low": low,
                "high": high,
                "mean": float(found.mean()) if len(found) else None,
            }
        )
    return rows
