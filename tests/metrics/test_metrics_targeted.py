"""Targeted attacks."""

from bitproof.metrics import summary, wilson
from metric_cells import make_cell, targeted, values


def test_targeted_success_counts_examples_that_became_their_target() -> None:
    clean = make_cell([1, 1, 1, 1, 1, 0])  # labels 0, 1, 0, 1, 0, 1
    attack = make_cell([1] * 6, kind="attack", label="pgd")
    # became its target; another class; stayed; had no target; its target is its label; was wrong before
    attack = targeted(attack, [2, 2, 2, -1, 0, 2], [2, 3, 0, 2, 0, 2])
    rows = [row for row in summary([clean, attack]) if row["metric"] == "tsr"]
    assert [(row["condition"], row["value"]) for row in rows] == [("pgd", 1 / 3)]
    assert (rows[0]["low"], rows[0]["high"]) == wilson(1, 3)
    assert ("tsr", "attack") not in values([clean, make_cell([1] * 6, kind="attack")])
