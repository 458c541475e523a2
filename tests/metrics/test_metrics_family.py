"""The family of tests: what is in it, what it costs to be many, and what it finds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import permutation_test

from bitproof.metrics import compare, flipped, max_t, mcnemar, verdicts
from bitproof.metrics.statistic import MEAN
from bitproof.records import Cell
from metric_cells import make_cell, sequence


def corrupted(right: np.ndarray, model: str, *, kinds: int = 5, severities: int = 5) -> list[Cell]:
    """The clean cell (row 0), and a corruption at its severities for every `severities` further rows."""
    cells = [make_cell(right[0], model=model)]
    for i, row in enumerate(right[1 : 1 + kinds * severities]):
        kind, severity = divmod(i, severities)
        cell = make_cell(row, model=model, kind="corruption", label=f"c{kind} {severity}", group=f"c{kind}")
        cells.append(replace(cell, condition=replace(cell.condition, severity=severity)))
    return cells


def skilled(draw: np.random.Generator, n: int, *, loss: float = 0.0) -> list[Cell]:
    """Two models that find the same examples hard; the second loses `loss` more under every corruption."""
    shared = 0.95**0.5 * draw.standard_normal(n)
    rates = np.array([0.9, *np.tile([0.85, 0.8, 0.75, 0.7, 0.6], 3)])[:, None]
    a, b = (shared + 0.05**0.5 * draw.standard_normal((16, n)) for _ in range(2))
    lost = np.array([0.0, *[loss] * 15])[:, None]
    return corrupted(a < ndtri(rates), "float") + corrupted(b < ndtri(rates - lost), "w4")


def adjusted(cells: list[Cell]) -> dict[str, float]:
    return {row["condition"]: row["p_adjusted"] for row in verdicts(cells, "float")}


def test_one_pair_is_mcnemar_and_a_mean_agrees_with_scipy() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.random((5, 60)) < 0.8, draw.random((5, 60)) < 0.65
    assert flipped(a[:1], b[:1], MEAN.value) == mcnemar(a[0], b[0])
    x, y = a.mean(axis=0), b.mean(axis=0)
    expected = permutation_test(
        (x, y),
        lambda x, y, axis: (x - y).mean(axis),
        permutation_type="samples",
        n_resamples=9999,
        vectorized=True,
        rng=0,
    )
    assert flipped(x[None], y[None], MEAN.value) == pytest.approx(expected.pvalue, rel=0.2, abs=1e-3)
    order = draw.permutation(60)
    assert flipped(x[None], y[None], MEAN.value) == flipped(x[None, order], y[None, order], MEAN.value)
    assert flipped(x[None], x[None], MEAN.value) == 1


def test_all_flips_of_few_examples_are_counted_right() -> None:
    a, b = np.array([[0.9, 0.8, 0.3, 0.5]]), np.array([[0.1, 0.2, 0.2, 0.4]])
    assert flipped(a, b, MEAN.value) == pytest.approx(2 / 16, abs=0.01)  # all signs equal, either way


def test_max_t_is_between_one_test_and_bonferroni() -> None:
    draw = np.random.default_rng(0)
    common = draw.random(100) < 0.12
    changes = np.stack([-(common & (draw.random(100) < 0.9)).astype(float) for _ in range(4)])
    single = [max_t(row[None])[0] for row in changes]
    together = max_t(changes)
    assert (together >= np.array(single) - 0.002).all() and (together < 4 * np.array(single) + 1e-9).all()
    assert max_t(np.zeros((2, 9))).tolist() == [1, 1]


def test_what_is_in_the_family() -> None:
    draw, cells = np.random.default_rng(0), list[Cell]()
    frames = {model: draw.integers(0, 2, (60, 9)) * (model == "w4") for model in ("float", "w4")}
    for model in frames:
        right = draw.random((12, 60)) < 0.8
        cells += corrupted(right, model, kinds=1, severities=3)
        cells += [make_cell(right[4 + i], model=model, kind="attack", label=f"pgd {i}", group="pgd") for i in (0, 1)]
        cells += [make_cell(right[6], model=model, kind="minimum", label="fmn")]
        cells += [sequence(make_cell(right[0], model=model), frames[model].tolist())]
        seen = [make_cell(right[0], model=model, kind="systematic", label=name, group="decode") for name in ("a", "b")]
        cells += [replace(cell, digests=np.arange(1, 61, dtype=np.uint64)) for cell in seen]
    cells[0] = replace(cells[0], digests=np.arange(1, 61, dtype=np.uint64))  # both decoders show the clean pixels
    rows = verdicts(cells, "float")
    assert [(row["condition"], row["conditions"], row["measure"]) for row in rows] == [
        ("clean", 1, "ACC"),
        ("pgd 0", 1, "ACC"),
        ("pgd 1", 1, "ACC"),
        ("c0", 3, "ACC"),
        ("tilt", 1, "FP"),
    ]
    assert rows[-1]["difference"] > 0.3 and rows[-1]["p_adjusted"] < 0.01 and not rows[-1]["higher_is_better"]
    shown = {row["condition"]: row["p_adjusted"] for row in compare(cells, "float") if row["model"] == "w4"}
    assert shown["clean"] == rows[0]["p_adjusted"] and shown["pgd 1"] == rows[2]["p_adjusted"]
    assert {label for label, p in shown.items() if p is None} == {"fmn", "tilt", "a", "b"}


def test_no_suite_changes_the_verdict_on_clean_images() -> None:
    right, few = np.ones((26, 40), bool), np.ones((26, 40), bool)
    few[0, :8] = False
    alone = [make_cell(right[0]), make_cell(few[0], model="w4")]
    more = [cell for model, rows in (("float", right), ("w4", few)) for cell in corrupted(rows, model)]
    more += [make_cell(right[0], kind="minimum"), make_cell(~right[0], model="w4", kind="minimum")]
    more += [make_cell(~right[0], model="w2")]
    assert adjusted(alone)["clean"] == adjusted([c for c in more if c.model.name != "w2"])["clean"] == 4 / 2**8
    by_model = {(row["model"], row["condition"]): row["p_adjusted"] for row in verdicts(more, "float")}
    assert by_model["w4", "clean"] == 4 / 2**8, "nor does another model"


def test_the_rest_has_the_whole_level_where_clean_images_differ() -> None:
    a, b = np.ones((2, 40), bool), np.ones((2, 40), bool)
    b[1, :7] = False
    attacked = [make_cell(a[1], kind="attack"), make_cell(b[1], model="w4", kind="attack")]
    same = [make_cell(a[0]), make_cell(a[0], model="w4"), *attacked]
    assert adjusted(same)["attack"] == pytest.approx(2 * 2 / 2**7)
    differ = [make_cell(a[0]), make_cell(~a[0], model="w4"), *attacked]
    assert adjusted(differ)["attack"] == pytest.approx(2 / 2**7)


def test_alike_models_rarely_raise_an_alarm_and_a_mean_finds_what_its_parts_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bitproof.metrics.paired.TOSSES", 999)
    draw, alarms, by_mean, by_parts = np.random.default_rng(0), 0, 0, 0
    for _ in range(30):
        alarms += min(adjusted(skilled(draw, 60)).values()) < 0.05
        cells = skilled(draw, 200, loss=0.03)
        by_mean += min(adjusted(cells).values()) < 0.05
        one_by_one = [mcnemar(a.correct, b.correct) for a, b in zip(cells[:16], cells[16:], strict=True)]
        by_parts += min(one_by_one) * len(one_by_one) < 0.05
    assert alarms <= 30 * (0.05 + 3 * (0.05 * 0.95 / 30) ** 0.5)
    assert by_mean > by_parts + 10
