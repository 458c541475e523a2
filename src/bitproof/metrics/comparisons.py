"""The table of all cells: accuracies, and how far each model is from the reference under the same condition."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bitproof.errors import lookup
from bitproof.metrics.family import family, tested_lines
from bitproof.metrics.intervals import wilson
from bitproof.metrics.moves import NORMS, mean_moves
from bitproof.metrics.paired import max_t, mcnemar, paired_difference
from bitproof.metrics.pairing import by_model_and_condition, condition_identity
from bitproof.records import Cell


def compare(cells: Sequence[Cell], reference: str) -> list[dict[str, Any]]:
    """One row a cell, in the given order: its accuracy, its paired difference from the reference, its cost.

    Args:
        cells: of one data set and seed, at most one a model and condition.
        reference: name of the model that the others are compared with, each under the same condition.

    Returns:
        Rows with model, weight_bits, act_bits, kind, condition (its label), group, n; accuracy, low, high (Wilson);
        difference (from the reference), diff_low, diff_high (not corrected), p_value (exact McNemar, not corrected),
        p_adjusted: over the model's family (`family`), or for one of several conditions that it has the mean of, over
        these (`max_t`). None for the reference, where it has no such cell, and p_adjusted where nothing is tested;
        l2, linf: how far an attack moved what deceives the model (`mean_moves`), None for
        other conditions; forwards and backwards an example; seconds.

    Raises:
        InputError: an unknown reference, different examples, or two cells of one model and condition.
    """
    table = by_model_and_condition(cells)
    lookup({cell.model.name: cell for cell in cells}, reference, "reference model")
    adjusted = _adjusted(table, cells, reference)
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
                "p_adjusted": adjusted.get((model, condition)),
                **(mean_moves(cell) if cell.condition.norm else dict.fromkeys(NORMS)),
                "forwards": cell.forwards / n,
                "backwards": cell.backwards / n,
                "seconds": cell.seconds,
            }
        )
    return rows


def _adjusted(
    table: Mapping[tuple[str, str], Cell], cells: Sequence[Cell], reference: str
) -> dict[tuple[str, str], float]:
    """The corrected p-values of accuracies, by model and condition."""
    found = {
        (test.model, condition_identity(test.line.conditions[0])): test.p_adjusted
        for test in family(cells, reference)
        if len(test.line.conditions) == 1 and not test.flips
    }
    groups = [[condition_identity(c) for c in line.conditions] for line in tested_lines(cells)]
    for model in {name for name, _ in table if name != reference}:
        for keys in (group for group in groups if len(group) > 1):
            shared = [key for key in keys if (model, key) in table and (reference, key) in table]
            if shared:
                a, b = (np.stack([table[name, key].correct for key in shared]) for name in (model, reference))
                found |= zip(((model, key) for key in shared), max_t(a.astype(float) - b).tolist(), strict=True)
    return found
