"""What the report says in words."""

import pytest

from bitproof import metrics
from bitproof.report.text import percent, points
from report_cells import CLEAN, cell, jpeg, model
from report_page import MINUS, Element, one


def findings(page: Element) -> list[str]:
    return [card.text for card in page.all("article", "card")]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (10, "Loses 25.0 points on clean images ({}), significant."),
        (2, f"No difference shown on clean images: {MINUS}5.0 points ({{}}), within 12.5 points at 5%."),
        (0, "No difference shown on clean images: 0.0 points ({}), within 5.5 points at 5%."),
    ],
)
def test_findings_say_what_the_rows_say(tmp_path, wrong, says):
    right, tested = cell(model("float"), CLEAN), cell(model("q", 4), CLEAN, wrong)
    reference, other = findings(one(tmp_path, [right, tested]))
    _, low, high = metrics.paired_difference(tested.correct, right.correct)
    assert "100.0 % clean" in reference
    assert says.format(f"95% CI {points(low)} to {points(high)}") in other
    worse = int(wrong == 10)
    assert f"Of 1 test against float: significantly worse in {worse}, better in 0; no difference shown in" in other


def test_findings_name_gains_and_the_largest_loss(tmp_path):
    tested = [cell(model("float"), CLEAN, 10), cell(model("q", 4), CLEAN)]
    tested += [cell(model("float"), jpeg(1), 1), cell(model("q", 4), jpeg(1), 13), cell(model("float"), jpeg(2), 2)]
    tested += [cell(model("q", 4), jpeg(2), 11)]
    reference, other = findings(one(tmp_path, tested))
    assert "Lowest accuracy: 75.0% on clean images" in reference
    assert "Gains 25.0 points" in other
    assert "Of 2 tests against float: significantly worse in 1, better in 1; no difference shown in 0." in other
    _, low, high = metrics.paired_difference(tested[3].correct, tested[2].correct, confidence=1 - 0.05 / 3)
    chosen = f"(95% CI {points(low)} to {points(high)}, corrected for the choice among 3)"
    assert f"Largest loss: 30.0 points under jpeg 1 {chosen}." in other
    low, high = metrics.wilson(30, 40, 1 - 0.05 / 3)
    assert f"95% CI {percent(low)} to {percent(high)}, corrected for the choice among 3." in reference
    gains = [*tested[:2], cell(model("float"), jpeg(3), 3), cell(model("q", 4), jpeg(3))]
    assert "Largest loss" not in findings(one(tmp_path, gains))[1]


def test_without_a_common_condition_nothing_is_compared(tmp_path):
    page = one(tmp_path, [cell(model("float"), CLEAN), cell(model("q", 4), jpeg(1), 3)])
    assert "No condition in common with float" in findings(page)[1]
