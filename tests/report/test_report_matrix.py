"""The matrix: accuracies, differences, marks, and the order of conditions."""

import numpy as np
import pytest

from bitproof import metrics
from bitproof.report.terminal import comparison
from bitproof.report.text import points
from report_cells import CLEAN, CONDITIONS, MODELS, cell, jpeg, model
from report_page import body, one, printed


def entry(found: float, difference: float | None = None, mark: str = "") -> str:
    shown = f"{100 * found:.1f}" + ("" if difference is None else f" {points(difference)}")
    return f"{shown} {mark}".strip()


def test_the_matrix_shows_accuracy_difference_and_significance(page, cells):
    rows = {(r["model"], r["condition"]): r for r in metrics.compare(cells, "float")}
    (table,) = page.all("table", "matrix")
    shown = {row[0].split(" mean of")[0]: row[1:] for row in body(table) if len(row) > 1}
    for condition in ("clean", "pgd-20 linf 8/255", "jpeg 1", "resize area"):
        expected = []
        for name in MODELS:
            row = rows[name, condition]
            significant = row["p_adjusted"] is not None and row["p_adjusted"] < 0.05
            expected.append(entry(row["accuracy"], row["difference"], "▼" if significant else ""))
        assert shown[condition] == expected
    assert "▼" in shown["resize area"][2] and "▼" not in "".join(shown["clean"])


def test_the_matrix_averages_severities_and_tests_the_means(page, cells):
    tests = {(r["model"], r["condition"]): r["p_adjusted"] for r in metrics.verdicts(cells, "float")}
    rows = {(r["model"], r["condition"]): r for r in metrics.compare(cells, "float")}
    (table,) = page.all("table", "matrix")
    shown = {row[0]: row[1:] for row in body(table)}
    for name, members in (("jpeg", ["jpeg 1", "jpeg 2"]), ("resize", ["resize box", "resize area", "resize nearest"])):
        expected = []
        for model_name in MODELS:
            found = [rows[model_name, member] for member in members]
            differences = [r["difference"] for r in found if r["difference"] is not None]
            mark = "▼" if tests.get((model_name, name), 1) < 0.05 else ""
            mean = sum(r["accuracy"] for r in found) / len(found)
            expected.append(entry(mean, float(np.mean(differences)) if differences else None, mark))
        assert shown[f"{name} mean of {len(members)}"] == expected
    assert "▼" in shown["resize mean of 3"][2]
    hidden = [row.attributes["data-in"] for row in table.all("tr", "member") if "hidden" in row.attributes]
    folds = [button.attributes["data-fold"] for button in table.all("button", "fold")]
    assert sorted(set(hidden)) == sorted(folds)
    assert len(hidden) == 5


def test_colour_follows_the_difference(page):
    (table,) = page.all("table", "matrix")
    row = next(row for row in table.all("tr") if row.all("th") and row.all("th")[0].text == "resize box")
    depths = [float(td.attributes["style"].removeprefix("--depth: ")) for td in row.all("td")]
    assert depths == [0.0, 0.5, 1.0]  # 5 more wrong of 40 are 12.5 points, half of the full colour


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5, 6, 7), (5, 3, 6, 4, 1, 7, 2, 0)])
def test_conditions_are_ordered_by_kind_and_strength(tmp_path, order):
    (table,) = one(tmp_path, [cell(model("float"), CONDITIONS[i]) for i in order]).all("table", "matrix")
    assert [row[0] for row in body(table)] == [
        "clean",
        "Attacks",
        "pgd-20 linf 8/255",
        "pgd-20 linf 16/255",
        "Corruptions",
        "jpeg mean of 2",
        "jpeg 1",
        "jpeg 2",
        "Systematic shifts",
        "resize mean of 3",
        "resize box",
        "resize area",
        "resize nearest",
    ]


def test_gains_are_marked_as_gains_and_losses_as_losses(tmp_path):
    conditions = {"gain": jpeg(1), "loss": jpeg(2)}
    tested = [cell(model("float"), CLEAN, 15), cell(model("q", 4), CLEAN, 15)]
    tested += [cell(model("float"), jpeg(1), 15), cell(model("q", 4), jpeg(1), 0)]
    tested += [cell(model("float"), jpeg(2), 0), cell(model("q", 4), jpeg(2), 15)]
    (table,) = one(tmp_path, tested).all("table", "matrix")
    rows = {row.all("th")[0].text: row.all("td")[1] for row in table.all("tr") if row.all("td")}
    marks = {"gain": ("gain", "▲", "significantly better"), "loss": ("loss", "▼", "significantly worse")}
    for name, condition in conditions.items():
        shown = rows[condition.label]
        tone, mark, words = marks[name]
        assert tone in shown.attributes["class"].split() and shown.text.endswith(mark)
        assert shown.all("span", "sign")[0].all("span")[1].attributes["aria-label"] == words
    assert rows["jpeg mean of 2"].text == "81.2 0.0", "a mean that gains as much as it loses is no loss"
    text = printed(comparison(tested, "float"))
    assert "(+37.50*)" in text[text.index("jpeg 1") :].splitlines()[0]
    assert "(-37.50*)" in text[text.index("jpeg 2") :].splitlines()[0]
    assert "(+0.00 )" in text[text.index("clean") :].splitlines()[0]
