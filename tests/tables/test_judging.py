"""Verdicts and conclusions on numbers whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitproof.metrics import ACCURACY, mcnemar
from bitproof.tables import Claim, Printed
from bitproof.tables.claims import FAILS, HOLDS, OPEN, UNTESTED, Compared, Judged, judge, pairs, pairs_across
from bitproof.tables.ensemble import rate, votes
from bitproof.tables.outcome import Outcome
from bitproof.tables.readings import difference, reading
from bitproof.tables.verdicts import CONSISTENT, DIFFERENT, INCOMPARABLE, judge_number
from metric_cells import make_cell

PERCENT = Printed(text="70.0", unit="percent")
SAME = {"n": 10_000, "images": None, "differs": ()}


def word(printed, found, **how) -> tuple[str, str]:
    verdict = judge_number(printed, found, **{**SAME, **how})
    return verdict.word, verdict.reason


def test_a_printed_number_inside_the_interval_is_consistent_and_one_outside_is_not():
    assert word(PERCENT, (0.705, 0.695, 0.715)) == (CONSISTENT, "")
    assert word(PERCENT, (0.72, 0.71, 0.73)) == (DIFFERENT, "")
    assert word(PERCENT, (0.72, 0.7005, 0.74)) == (CONSISTENT, "")  # 70.0 may have been 70.05
    assert word(PERCENT, (0.72, 0.70051, 0.74)) == (DIFFERENT, "")


def test_the_error_of_the_papers_own_images_counts_where_they_are_others():
    half = 1.96 * (0.7 * 0.3 / 1_000) ** 0.5
    assert word(PERCENT, (0.74, 0.7 + half, 0.75), images=1_000) == (CONSISTENT, "")
    assert word(PERCENT, (0.74, 0.7 + half + 0.0006, 0.75), images=1_000) == (DIFFERENT, "")


def test_what_cannot_be_compared_says_why():
    assert word(None, (0.7, 0.6, 0.8)) == (INCOMPARABLE, "not in the paper")
    assert word(PERCENT, (0.7, 0.69, 0.71), differs=("other images", "another network")) == (
        INCOMPARABLE,
        "other images, another network",
    )
    assert word(PERCENT, (0.7, 0.6, 0.8), n=80) == (INCOMPARABLE, "fewer images (n = 80)")
    assert word(PERCENT, (0.7, None, None)) == (INCOMPARABLE, "no interval is known")
    assert word(PERCENT, None) == (INCOMPARABLE, "the paper prints a number, and ours is undefined")


def test_models_that_converge_in_neither_are_consistent():
    nc = Printed(text="", unit="percent", note="NC")
    assert word(nc, None) == (CONSISTENT, "neither converged")
    assert word(nc, (0.7, 0.69, 0.71)) == (INCOMPARABLE, "the paper prints NC")
    assert word(nc, None, differs=("another network",)) == (INCOMPARABLE, "another network")


@settings(deadline=None, max_examples=50)
@given(st.floats(0.01, 0.99), st.floats(0, 0.04), st.floats(0, 0.04))
def test_units_do_not_change_a_verdict(value, below, above):
    found = (value, max(0.0, value - below), min(1.0, value + above))
    rate, percent = Printed(text="0.5000", unit="fraction"), Printed(text="50.00", unit="percent")
    assert word(rate, found) == word(percent, found)


# ---- conclusions


def readings(**answers):
    return {
        (row, "acc"): reading(row, "acc", ACCURACY, [make_cell(answer, model=row)]) for row, answer in answers.items()
    }


BETTER = np.array([1] * 20 + [0] * 10)
WORSE = np.array([1] * 8 + [0] * 22)


def test_a_difference_is_paired_and_its_test_is_mcnemars():
    found = readings(a=BETTER, b=WORSE)
    assert difference(found["a", "acc"], found["b", "acc"]) == pytest.approx((0.4, mcnemar(BETTER, WORSE)))
    assert difference(found["a", "acc"], readings(c=BETTER[:9])["c", "acc"]) is None


@pytest.mark.parametrize(
    ("claimed", "verdict"),
    [
        ([("a", "b")], HOLDS),
        ([("b", "a")], FAILS),
        ([("a", "same")], OPEN),
        ([("a", "b"), ("a", "same")], OPEN),
        ([("a", "b"), ("b", "a")], FAILS),
        ([("a", "nowhere")], UNTESTED),
        ([], UNTESTED),
    ],
)
def test_a_claim_holds_where_all_its_pairs_are_in_order(claimed, verdict):
    claim = Claim(text="", source="", pairs=pairs(claimed, ["acc"]))
    judged = judge(claim, readings(a=BETTER, b=WORSE, same=BETTER))
    assert judged.verdict == verdict
    assert (judged.reason == "none of its numbers was measured") == (verdict == UNTESTED)


def test_many_pairs_are_corrected_for_being_many():
    one, other = np.array([1] * 7 + [0] * 20), np.array([0] * 7 + [0] * 20)  # p = 0.016 alone
    found = readings(a=one, **{f"b{i}": other for i in range(5)})
    assert judge(Claim(text="", source="", pairs=pairs([("a", "b0")], ["acc"])), found).verdict == HOLDS
    five = judge(Claim(text="", source="", pairs=pairs([("a", f"b{i}") for i in range(5)], ["acc"])), found)
    assert five.verdict == OPEN and five.reason == "of 5 pairs 5 not significant"
    assert five.pairs[0].p_value == pytest.approx(5 * 2 * 0.5**7)


def test_pairs_go_over_rows_or_over_columns():
    assert pairs([("a", "b")], ["x", "y"]) == ((("a", "x"), ("b", "x")), (("a", "y"), ("b", "y")))
    assert pairs_across(["a"], "x", "y") == ((("a", "x"), ("a", "y")),)


# ---- the ensemble


def test_votes_need_so_many_and_rates_are_of_those_that_answer():
    said = np.array([[0, 1, 2], [0, 1, 1], [0, 2, 0], [0, 1, 2]])
    assert votes(said, 4).tolist() == [0, -1, -1] and votes(said, 3).tolist() == [0, 1, -1]
    valid, right = np.array([1, 1, 0, 1], bool), np.array([1, 0, 0, 1], bool)
    found = rate("ensemble", "acc", valid, right)
    assert found.n == 3 and found.estimate[0] == pytest.approx(2 / 3)
    assert rate("ensemble", "acc", ~valid & valid, right).estimate is None


@pytest.mark.parametrize(
    ("signs", "said"),
    [("+", "holds"), ("++", "2 hold"), ("--?", "2 do not hold, 1 undecided"), ("+-", "1 holds, 1 does not hold")],
)
def test_conclusions_are_counted_in_a_sentence(signs, said):
    sized = {"+": (0.5, 0.001), "-": (-0.5, 0.001), "?": (0.1, 0.6)}
    key = ("row", "column")
    claims = tuple(
        Judged(text="", source="", pairs=(Compared(more=key, less=key, difference=size, p_value=p),))
        for size, p in (sized[sign] for sign in signs)
    )
    about = dict.fromkeys(
        ("paper", "number", "title", "setting", "citation", "scale", "data", "training", "network"), ""
    )
    assert Outcome(**about, differs=(), entries=(), claims=claims, unmeasured=0).conclusion == said
