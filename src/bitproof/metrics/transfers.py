"""Transfer: images that an attack made on one model, given to others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from bitproof.errors import InputError
from bitproof.metrics.intervals import wilson
from bitproof.metrics.moves import mean_moves
from bitproof.metrics.pairing import same_examples
from bitproof.records import Cell
from bitproof.settings import digest


def transfer(cells: Sequence[Cell], *, tuned: str | None = None) -> list[dict[str, Any]]:
    """The transfer matrix: how models fare under images that attacks made on one of them (Bernhard et al. 2019,
    arXiv 1909.12741, Tables 17 to 34).

    Args:
        cells: those of kind "transfer" are used.
        tuned: a field of the attacks, such as "kappa". Of attacks that differ in it alone, each source then keeps
            the one that the other models resist least on average, as in Section 5.2 there; it is chosen on half of the
            examples, by a hash of their ids, and the rows are over the others, so that the choice does not flatter it.

    Returns:
        Rows with attack, source, target, n; accuracy of the target on all images, low, high (Wilson); l2, linf: mean
        distance of the changed images that the target gets wrong (`mean_moves`).

    Raises:
        InputError: different examples, or one example or none where half of them choose.
    """
    chosen = same_examples([cell for cell in cells if cell.condition.kind == "transfer"])
    rows = np.s_[:]
    if tuned is not None and chosen:
        if len(chosen[0].ids) < 2:
            raise InputError("one example", rule=f"a half of them chooses {tuned}", remedy="Take more examples")
        choosing = _half(chosen[0].ids)
        chosen, rows = _tuned(chosen, tuned, choosing), ~choosing
    table: list[dict[str, Any]] = []
    for cell in chosen:
        correct = cell.correct[rows]
        low, high = wilson(int(correct.sum()), len(correct))
        table.append(
            {
                "attack": cell.condition.group,
                "source": cell.condition.source,
                "target": cell.model.name,
                "n": len(correct),
                "accuracy": float(correct.mean()),
                "low": low,
                "high": high,
                **mean_moves(cell, rows),
            }
        )
    return table


def _half(ids: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Half of the examples (the larger one), whatever order they are in and whatever lies beside them."""
    mixed = ids.astype(np.uint64)
    for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):  # the mixer of SplitMix64, Steele et al. 2014
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(factor)
    return np.argsort(np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")) % 2 == 0


def _tuned(cells: list[Cell], field: str, choosing: Bool[np.ndarray, " n"]) -> list[Cell]:
    """The cells of the value of `field` under which the models other than the source are right least often."""
    families: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        c = cell.condition
        alike = {name: value for name, value in c.setting.items() if name != field}
        family = families.setdefault(digest(alike, c.source, c.how), {})
        family.setdefault(digest(c.setting), []).append(cell)
    kept: list[Cell] = []
    for family in families.values():
        others = {key: [c for c in part if c.model.name != c.condition.source] for key, part in family.items()}
        right = {key: np.mean([c.correct[choosing].mean() for c in others[key] or family[key]]) for key in family}
        kept += family[min(family, key=lambda key: float(right[key]))]
    return kept
