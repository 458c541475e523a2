"""Accuracies over several trained networks, or several seeds of a run: mean, spread, and an interval that holds it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bitproof.errors import InputError
from bitproof.metrics.intervals import student_quantile
from bitproof.metrics.pairing import condition_identity
from bitproof.records import Cell

RUN_SEED = "seed"
"""What stands for the seed of a run; other words are tags of models."""


def pooled(cells: Sequence[Cell], over: str, *, confidence: float = 0.95) -> list[dict[str, Any]]:
    """One row a family of models and condition: the accuracies of its members, taken together.

    Models are of one family if they have one name, or one tag "name" (`ModelRecord.family`).

    Args:
        cells: of one data set, under the same conditions.
        over: "seed", the seed of the run (attacks and corruptions draw anew, the network stays), or a tag of the
            models, such as "train_seed".
        confidence: of the interval, in (0, 1).

    Returns:
        Rows with model, condition, kind, over, n (different values of it), examples; accuracy (mean over these), sd
        (sample standard deviation), least, most, low, high (Student's interval of the mean, None for n = 1), and
        holds: what the interval stands for, in words.

    Raises:
        InputError: no model has the tag, two cells for one value of it, or several data sets.
    """
    if over != RUN_SEED and not any(over in cell.model.tags for cell in cells):
        raise InputError(
            f"no model has the tag {over!r}",
            rule='results are taken together over "seed", or over a tag of the models'
            + (f": {', '.join(known)}" if (known := sorted({k for c in cells for k in c.model.tags})) else ""),
            remedy=f"Tag the models before they are tested: bp.tagged(net, {over}=1)",
        )
    if len({cell.data.fingerprint for cell in cells}) > 1:
        raise InputError(
            "results on several data sets", rule="those on one are taken together", remedy="Choose one: data="
        )
    parts: dict[tuple[str, str], dict[Any, Cell]] = {}
    for cell in cells:
        if over != RUN_SEED and over not in cell.model.tags:
            continue
        value = cell.seed if over == RUN_SEED else cell.model.tags[over]
        part = parts.setdefault((cell.model.family, condition_identity(cell.condition)), {})
        if value in part:
            raise InputError(
                f"two results of {cell.model.family!r} under {cell.condition.label!r} with {over} = {value}",
                rule="each value counts once",
                remedy="Give models that differ in something else another name, or choose one: seed=, data=",
            )
        part[value] = cell
    return [_row(name, over, part, confidence) for (name, _), part in parts.items()]


def _row(name: str, over: str, part: dict[Any, Cell], confidence: float) -> dict[str, Any]:
    accuracies = np.array([cell.correct.mean() for cell in part.values()])
    first, n = next(iter(part.values())), len(accuracies)
    mean, sd = float(accuracies.mean()), float(accuracies.std(ddof=1)) if n > 1 else None
    half = None if sd is None else student_quantile(confidence, n - 1) * sd / math.sqrt(n)
    noise = "draws of attacks and corruptions" if over == RUN_SEED else f"{over}: training again"
    return {
        "model": name,
        "condition": first.condition.label,
        "kind": first.condition.kind,
        "over": over,
        "n": n,
        "examples": len(first.ids),
        "accuracy": mean,
        "sd": sd,
        "least": float(accuracies.min()),
        "most": float(accuracies.max()),
        "low": None if half is None else max(0.0, mean - half),
        "high": None if half is None else min(1.0, mean + half),
        "holds": f"{noise}; the same {len(first.ids):,} images",
    }
