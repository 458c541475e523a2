"""Conditions that showed the same pixels."""

from dataclasses import replace

import numpy as np
import pytest

from bitproof.errors import InputError
from bitproof.metrics import same_pixels
from bitproof.records import Cell
from metric_cells import make_cell


def shown(label: str, digests: list[int] | None, **options) -> Cell:
    cell = make_cell([1, 1, 1], label=label, kind="clean" if label == "clean" else "systematic", **options)
    return replace(cell, digests=None if digests is None else np.array(digests, np.uint64))


def test_conditions_that_showed_the_same_pixels_are_named_with_the_share():
    cells = [
        shown("clean", [1, 2, 3]),
        shown("opencv", [1, 2, 3]),
        shown("ffmpeg", [1, 2, 9]),
        shown("planes", [7, 2, 9]),
        shown("nearest", [4, 5, 6]),
        shown("float16", None),
    ]
    assert same_pixels(cells) == [
        {"condition": "opencv", "like": "clean", "equal": 3, "n": 3},
        {"condition": "ffmpeg", "like": "clean", "equal": 2, "n": 3},
        {"condition": "planes", "like": "ffmpeg", "equal": 2, "n": 3},
    ]


def test_several_models_under_a_condition_saw_it_once():
    cells = [shown(label, [1, 2, 3], model=model) for label in ("clean", "box") for model in ("float", "w4a4")]
    assert [(row["condition"], row["like"]) for row in same_pixels(cells)] == [("box", "clean")]


def test_pixels_are_compared_by_example_not_by_position():
    turned = shown("box", [3, 2, 1])
    turned = replace(turned, ids=turned.ids[::-1].copy(), labels=turned.labels[::-1].copy())
    assert same_pixels([shown("clean", [1, 2, 3]), turned])[0]["equal"] == 3
    with pytest.raises(InputError, match="3 examples, 3 of them not among the 3"):
        same_pixels([shown("clean", [1, 2, 3]), shown("box", [1, 2, 3], first_id=7)])
