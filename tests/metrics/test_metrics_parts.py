"""Rows of parts: a budget, a corruption, a noise; and how far images were moved."""

from dataclasses import replace

import numpy as np
import pytest

from bitproof import metrics
from bitproof.records import Cell
from metric_cells import make_cell, values


def attacked(correct: list[int], norm: str, eps: float, *, name: str = "pgd") -> Cell:
    cell = make_cell(correct, kind="attack", label=f"{name} {norm} {eps}", group=name)
    return replace(cell, condition=replace(cell.condition, norm=norm, eps=eps, variant=f"{eps:g}"))


def test_the_smallest_budgets_of_all_norms_are_one() -> None:
    cells = [
        attacked([1, 1, 1, 0], "linf", 0.1),
        attacked([1, 0, 0, 0], "linf", 0.2),
        attacked([1, 1, 0, 1], "linf", 0.1, name="fgsm"),
        attacked([0, 0, 1, 0], "l2", 9.0),
        attacked([1, 1, 1, 1], "l2", 3.0),
    ]
    found = values(cells)
    assert {condition: value for (metric, condition), value in found.items() if metric == "wcar-budget"} == {
        "linf 0.1, l2 3": 2 / 4,
        "linf 0.2, l2 9": 0.0,
    }
    assert found["wcar", ""] == 0.0
    alone = values(cells[:3])  # a norm less
    assert (alone["wcar-budget", "linf 0.1"], alone["wcar-budget", "linf 0.2"]) == (2 / 4, 1 / 4)
    assert not [metric for metric, _ in values(cells[:1]) if metric == "wcar-budget"]
    uneven = {condition for metric, condition in values(cells[:4]) if metric == "wcar-budget"}
    assert uneven == {"linf 0.1", "linf 0.2", "l2 9"}


def test_each_corruption_and_each_noise_has_its_impact() -> None:
    found = values(
        [
            make_cell([1, 1, 1, 1, 0]),
            make_cell([1, 1, 1, 0, 0], kind="corruption", label="fog 1", group="fog"),
            make_cell([1, 0, 0, 0, 0], kind="corruption", label="fog 5", group="fog"),
            make_cell([1, 0, 0, 0, 0], kind="corruption", label="snow 3", group="snow"),
            make_cell([1, 1, 1, 1, 0], kind="systematic", label="pillow"),
            make_cell([1, 1, 0, 0, 0], kind="systematic", label="opencv"),
        ]
    )
    parts = {key: value for key, value in found.items() if key[0] in ("nci-corruption", "sni-noise", "acc-s")}
    assert parts == pytest.approx(
        {
            ("nci-corruption", "fog"): (0.8 - 0.4) / 0.8,
            ("nci-corruption", "snow"): (0.8 - 0.2) / 0.8,
            ("sni-noise", "pillow"): 0.0,
            ("sni-noise", "opencv"): (0.8 - 0.4) / 0.8,
            ("acc-s", ""): 0.6,
        }
    )


def test_moves_are_those_of_the_images_that_deceive() -> None:
    cell = attacked([1, 0, 0, 0], "linf", 0.5)
    cell = replace(cell, linf=np.float32([0.5, 0.5, 0.25, 0]), l2=np.float32([9, 3, 2, 0]))
    assert metrics.mean_moves(cell) == {"l2": 2.5, "linf": 0.375}  # the last one was wrong already
    (row,) = metrics.compare([cell], "float")
    assert (row["l2"], row["linf"]) == (2.5, 0.375)
    (row,) = metrics.compare([make_cell([1, 0])], "float")
    assert (row["l2"], row["linf"]) == (None, None)
    assert metrics.mean_moves(attacked([1, 1], "linf", 0.5)) == {"l2": None, "linf": None}
