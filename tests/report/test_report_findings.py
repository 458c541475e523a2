"""What the report says in words."""

import pytest

from bitproof import metrics
from bitproof.report.text import points
from report_cells import CLEAN, cell, jpeg, model
from report_page import Element, one


def findings(page: Element) -> list[str]:
    return [card.text for card in page.all("article", "card")]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (10, "Loses 25.0 points on clean images ({}), significant after Holm correction."),
        (2, "Loses 5.0 points on clean images ({}), not significant after Holm correction."),
        (0, "Differs by 0.0 points on clean images ({}), not significant after Holm correction."),
    ],
)
def test_findings_say_what_the_rows_say(tmp_path, wrong, says):
    right, tested = cell(model("float"), CLEAN), cell(model("q", 4), CLEAN, wrong)
    reference, other = findings(one(tmp_path, [right, tested]))
    _, low, high = metrics.paired_difference(tested.correct, right.correct)
    assert "100.0 % clean" in reference
    assert says.format(f"95% CI {points(low)} to {points(high)}") in other
    worse = int(wrong == 10)
    assert f"Significantly worse than float under {worse} and better under 0 of 1 condition." in other


def test_findings_name_gains_and_the_largest_loss(tmp_path):
    tested = [cell(model("float"), CLEAN, 10), cell(model("q", 4), CLEAN)]
    tested += [cell(model("float"), jpeg(1), 1), cell(model("q", 4), jpeg(1), 13), cell(model("float"), jpeg(2), 2)]
    tested += [cell(model("q", 4), jpeg(2), 11)]
    reference, other = findings(one(tmp_path, tested))
    assert "Lowest accuracy: 75.0% on clean images" in reference
    assert "Gains 25.0 points" in other
    assert "worse than float under 2 and better under 1 of 3 conditions" in other
    assert "Largest loss: 30.0 points under jpeg 1 (95% CI" in other
    gains = [*tested[:2], cell(model("float"), jpeg(3), 3), cell(model("q", 4), jpeg(3))]
    assert "Largest loss" not in findings(one(tmp_path, gains))[1]


def test_without_a_common_condition_nothing_is_compared(tmp_path):
    page = one(tmp_path, [cell(model("float"), CLEAN), cell(model("q", 4), jpeg(1), 3)])
    assert "No condition in common with float" in findings(page)[1]
