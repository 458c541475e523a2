"""Transfers between models."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bitproof import metrics
from bitproof.errors import InputError
from bitproof.metrics import wilson
from bitproof.records import Cell, ConditionRecord
from metric_cells import make_cell, shuffled


def transferred(correct: Sequence[int], *, source: str, target: str, kappa: int = 0) -> Cell:
    """A cell of images that moved in the first three examples only."""
    cell = make_cell(correct, model=target)
    condition = ConditionRecord(
        kind="transfer",
        label=f"what {source} gave, kappa {kappa}",
        group=f"cw {kappa}",
        setting={"type": "CW", "kappa": kappa},
        source=source,
    )
    moved = (np.arange(len(correct)) < 3) * np.float32(0.5)
    return replace(cell, condition=condition, linf=moved, l2=3 * moved)


def test_the_transfer_matrix_by_hand() -> None:
    cells = [transferred([0, 1, 0, 0], source="float", target="w4"), make_cell([1, 1, 1, 1])]
    (row,) = metrics.transfer(cells)
    low, high = wilson(1, 4)
    assert row == {
        "attack": "cw 0",
        "source": "float",
        "target": "w4",
        "n": 4,
        "accuracy": 0.25,
        "low": low,
        "high": high,
        "l2": 1.5,
        "linf": 0.5,
    }
    assert metrics.transfer([transferred([1, 1, 1, 0], source="float", target="w4")])[0]["l2"] is None


def test_a_field_is_tuned_on_one_half_and_judged_on_the_other() -> None:
    choosing = np.array([True, False, True, False, False, True])  # of ids 0 to 5, by their hash

    def grid(source: str, best: int) -> list[Cell]:
        return [
            transferred(np.where(choosing, kappa != best, kappa == best), source=source, target=target, kappa=kappa)
            if target != source
            else transferred([kappa == best] * 6, source=source, target=target, kappa=kappa)
            for kappa in (0, 5)
            for target in ("float", "w4")
        ]

    rows = metrics.transfer([*grid("float", best=5), *grid("w4", best=0)], tuned="kappa")
    # The source's own accuracy would choose the other one.
    assert [(row["source"], row["target"], row["attack"], row["accuracy"]) for row in rows] == [
        ("float", "float", "cw 5", 1),
        ("float", "w4", "cw 5", 1),
        ("w4", "float", "cw 0", 1),
        ("w4", "w4", "cw 0", 1),
    ]
    assert {row["n"] for row in rows} == {3}
    order = np.array([3, 5, 0, 1, 4, 2])
    mixed = [shuffled(cell, order) for cell in [*grid("float", best=5), *grid("w4", best=0)]]
    assert metrics.transfer(mixed, tuned="kappa") == rows
    other = transferred([1] * 6, source="float", target="w2")
    with pytest.raises(InputError, match="must hold the same examples"):
        metrics.transfer([*mixed, replace(other, ids=other.ids + 1)])
    with pytest.raises(InputError, match="one example: a half of them chooses kappa"):
        metrics.transfer([transferred([1], source="float", target="w4")], tuned="kappa")
