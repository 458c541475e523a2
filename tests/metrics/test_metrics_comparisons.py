"""Paired comparisons against statsmodels, loops and hand-made tables."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from bitproof.errors import InputError
from bitproof.metrics import compare, difference_above, holm, mcnemar, paired_difference
from metric_cells import Z, make_cell, random_cells

outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60).map(np.array)


def test_mcnemar_closed_form() -> None:
    a = np.array([1, 1, 1, 1, 1, 0, 1])
    b = np.array([0, 0, 0, 0, 0, 0, 1])
    assert mcnemar(a, b) == pytest.approx(2 * 0.5**5)
    assert mcnemar(a, a) == 1.0


@given(outcomes)
@settings(deadline=None)
def test_mcnemar_agrees_with_statsmodels(pairs: np.ndarray) -> None:
    a, b = pairs.T
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    assert mcnemar(a, b) == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue, abs=1e-12)
    assert mcnemar(a, b) == pytest.approx(mcnemar(b, a), abs=1e-12)


def test_paired_difference_by_hand() -> None:
    a, b = np.array([1, 1, 1, 0, 0, 1, 1, 1]), np.array([1, 1, 0, 1, 0, 0, 0, 1])
    # 3 where only a is right, 1 where only b is: 4 / 10 and 2 / 10
    half = Z * np.sqrt((0.6 - 0.2**2) / 10)
    assert paired_difference(a, b) == pytest.approx((0.25, 0.2 - half, 0.2 + half))


def test_paired_difference_of_many_examples_has_the_normal_interval() -> None:
    a, b = np.random.default_rng(0).random((2, 100_000)) < [[0.8], [0.7]]
    difference, low, high = paired_difference(a, b)
    half = Z * np.std(a.astype(float) - b) / np.sqrt(a.size)
    assert (difference - low, high - difference) == pytest.approx((half, half), rel=0.01)


def test_two_models_that_never_differed_may_still_differ() -> None:
    a = np.ones(60, bool)
    found, low, high = paired_difference(a, a)
    assert found == 0 and low == -high < -0.04


def test_a_higher_confidence_is_wider() -> None:
    a, b = np.random.default_rng(2).random((2, 500)) < 0.5
    _, low, high = paired_difference(a, b, confidence=0.8)
    _, lower, higher = paired_difference(a, b, confidence=0.99)
    assert lower < low < high < higher


@given(outcomes)
@settings(deadline=None, max_examples=30)
def test_paired_difference_changes_sign_with_the_order_of_the_models(pairs: np.ndarray) -> None:
    a, b = pairs.T
    difference, low, high = paired_difference(a, b)
    assert paired_difference(b, a) == pytest.approx((-difference, -high, -low))
    assert -1 <= low <= difference <= high <= 1 and low < high


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(16, 0, 100), (9, 4, 60), (3, 3, 20), (0, 7, 30)])
def test_the_score_test_of_a_margin_agrees_with_a_search_for_the_likeliest_rates(only_a, only_b, n) -> None:
    a, b = np.arange(n) < only_a, np.arange(n) >= n - only_b
    assert difference_above(a, b, 0.0) == pytest.approx(norm.sf((only_a - only_b) / (only_a + only_b) ** 0.5))

    def unlikely(q: float) -> float:
        return -(only_a * np.log(q + 0.05) + only_b * np.log(q) + (n - only_a - only_b) * np.log(0.95 - 2 * q))

    q = minimize_scalar(unlikely, bounds=(1e-12, 0.47), method="bounded", options={"xatol": 1e-10}).x
    z = (only_a - only_b - 0.05 * n) / (n * (2 * q + 0.05 - 0.05**2)) ** 0.5
    assert difference_above(a, b, 0.05) == pytest.approx(norm.sf(z), rel=1e-4)


def test_unpaired_arrays_are_refused() -> None:
    for compute in (mcnemar, paired_difference):
        with pytest.raises(InputError, match=r"shapes \(2,\) and \(3,\): a paired comparison needs two vectors"):
            compute([True, False], [True, False, True])
        with pytest.raises(InputError, match=r"Evaluate both models on the same data\.$"):
            compute([], [])


def test_holm_by_hand() -> None:
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2 (raised to 0.06 before it), 0.9 x 1.
    assert holm([0.03, 0.9, 0.01, 0.02]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]).size == 0


def test_a_p_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(InputError, match="NaN"):
        holm([0.1, np.nan])


def test_holm_agrees_with_statsmodels() -> None:
    p_values = np.random.default_rng(0).random(50).round(2) ** 4  # many small ones and ties
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_only_raises_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert (adjusted >= np.array(p_values)).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p_values)]) >= 0).all()


def test_a_row_of_the_comparison() -> None:
    right, wrong = [1] * 12 + [0] * 8, [0] * 12 + [0] * 8
    rows = compare([make_cell(right, group="clean"), make_cell(wrong, model="w2", bits=2, group="clean")], "float")
    low, high = proportion_confint(12, 20, method="wilson")
    shared = {"kind": "clean", "condition": "clean", "group": "clean", "n": 20}
    cost = {"forwards": 3.0, "backwards": 2.0, "seconds": 1.5}
    nothing = dict.fromkeys(("difference", "diff_low", "diff_high", "p_value", "p_adjusted", "l2", "linf"))
    assert rows[0] == shared | cost | nothing | {
        "model": "float",
        "weight_bits": 32,
        "act_bits": 32,
        "accuracy": 0.6,
        "low": pytest.approx(low),
        "high": pytest.approx(high),
    }
    assert (rows[1]["model"], rows[1]["weight_bits"], rows[1]["accuracy"]) == ("w2", 2, 0)
    assert rows[1]["difference"] == pytest.approx(-0.6)
    assert rows[1]["diff_low"] < -0.6 < rows[1]["diff_high"] < 0
    assert rows[1]["p_value"] == pytest.approx(2 * 0.5**12)
    assert rows[1]["p_adjusted"] == pytest.approx(4 * 0.5**12)  # half of the level is for clean images


def test_the_reference_is_taken_under_the_same_condition() -> None:
    cells = random_cells()
    lonely = make_cell([1] * 40, model="w4a4", kind="attack", label="apgd")
    rows = compare([*cells, lonely], "float")
    assert [(row["model"], row["condition"]) for row in rows] == [
        (cell.model.name, cell.condition.label) for cell in [*cells, lonely]
    ]
    assert rows[-1]["difference"] is rows[-1]["p_value"] is rows[-1]["p_adjusted"] is None
    half = len(cells) // 2
    compared = rows[half:-1]
    for row, a, b in zip(compared, cells[half:], cells[:half], strict=True):
        assert (row["difference"], row["diff_low"], row["diff_high"]) == paired_difference(a.correct, b.correct)
        assert row["p_value"] == mcnemar(a.correct, b.correct)


def test_an_unknown_reference_is_named() -> None:
    with pytest.raises(InputError, match=r"unknown reference model 'flaot': known are float\. Did you mean 'float'\?"):
        compare([make_cell([1, 0])], "flaot")


def test_equal_labels_with_other_settings_are_not_compared() -> None:
    other = make_cell([1, 1], model="w4", kind="attack", label="pgd")
    other = replace(other, condition=replace(other.condition, setting={"eps": 0.1}))
    rows = compare([make_cell([1, 0], kind="attack", label="pgd"), other], "float")
    assert rows[1]["difference"] is None
