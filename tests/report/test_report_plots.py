"""Plots and what they say to those who do not see them."""

import re
from dataclasses import replace

import pytest

from bitproof import metrics
from bitproof.records import ConditionRecord
from bitproof.report.terminal import distance_table
from bitproof.report.text import percent
from report_cells import CLEAN, MODELS, N, attack, cell, model, nearest
from report_page import DASH, one, printed


def test_one_plot_a_group_with_every_model(page, cells):
    rows = {(r["model"], r["condition"]): r["accuracy"] for r in metrics.compare(cells, "float")}
    plots = {f.all("figcaption")[0].text: f for f in page.all("figure", "plot")}
    assert list(plots) == [
        "clean",
        "pgd-20 linf against the budget eps",
        "jpeg mean of 2 severities",
        "resize mean of 3 modes",
    ]
    labels = [f.all("div")[0].attributes["aria-label"] for f in plots.values()]
    for name in MODELS:
        jpegs = (rows[name, "jpeg 1"] + rows[name, "jpeg 2"]) / 2
        assert f"{name} {percent(rows[name, 'clean'])}%" in labels[0]
        assert (
            f"{name} {percent(rows[name, 'clean'])}% at 0, {percent(rows[name, 'pgd-20 linf 8/255'])}% at 8/255"
            in labels[1]
        )
        assert f"{name} {percent(jpegs)}%" in labels[2]
    ticks = [t.text for t in plots["clean"].all("text")]
    assert ticks[:4] == ["float", "8/8", "2/2", "bits (weights/activations)"]
    assert all(f"var(--m{i})" in str(plots["clean"]) for i in range(3))


def test_higher_accuracy_is_drawn_higher(tmp_path):
    page = one(
        tmp_path, [cell(model("float"), CLEAN, 4), cell(model("q", 4), CLEAN, 20), cell(model("r", 2), CLEAN, 36)]
    )
    (plot,) = page.all("figure", "plot")
    height = {}
    for use in plot.all("use"):
        for i in re.findall(r"fill: var\(--m(\d)\)", use.attributes.get("style", "")):
            height[int(i)] = float(use.attributes["y"])
    assert height[0] < height[1] < height[2]
    assert height[1] - height[0] == pytest.approx(height[2] - height[1], abs=1e-3)


def test_attacks_without_a_budget_are_drawn_as_curves_with_their_medians(tmp_path):
    tenths = [0.5 * i / (N - 1) for i in range(N)]  # the first is wrong when clean
    cells = [cell(m, CLEAN, wrong) for m, wrong in ((model("float"), 1), (model("q", 4), 0))]
    cells += [nearest(model("float"), "fmn-9 l2", tenths), nearest(model("q", 4), "fmn-9 l2", [])]
    cells += [nearest(m, "fmn-9 linf", [2 / 255] * N) for m in (model("float"), model("q", 4))]
    page = one(tmp_path, cells)
    plots = {f.all("figcaption")[0].text: f.all("div")[0].attributes["aria-label"] for f in page.all("figure", "plot")}
    words = plots["fmn-9 l2 by distance"]
    assert words.startswith(f"Accuracy within each distance under fmn-9 l2: float {percent(1 - 1 / N)}% when clean, ")
    assert words.endswith(
        "0.0% at 0.523; q 100.0% when clean, 100.0% at 0.105, 100.0% at 0.209, 100.0% at 0.314, "
        "100.0% at 0.419, 100.0% at 0.523"
    )
    assert "100.0% at 1.76/255, 0.0% at 2.2/255" in plots["fmn-9 linf by distance"]
    (table,) = [t for t in page.all("table", "metrics") if "Median" in t.text]
    rows = [[entry.text for entry in row.all("td")] for row in table.all("tbody")[0].all("tr")]
    assert [row[2:] for row in rows][1:] == [[DASH, f"0 of {N}"], ["2/255", f"{N} of {N}"], ["2/255", f"{N} of {N}"]]
    assert rows[0][3] == f"{N - 1} of {N - 1}" and rows[1][1].startswith("none")
    text = printed(distance_table(cells, "float"))
    assert "none [none, none]" in text and "2/255 [2/255, 2/255]" in text and "0.25" in text
    assert distance_table(cells[:2], "float") == []


def test_budgets_of_different_settings_do_not_make_one_curve(tmp_path):
    def wrapped(eps: int, draws: int) -> ConditionRecord:
        inside = {"type": "PGD", "eps": eps / 255}
        return replace(
            attack(eps), label=f"eot-{draws} {eps}", setting={"type": "EOT", "draws": draws, "attack": inside}
        )

    conditions = [wrapped(8, 1), wrapped(4, 1), wrapped(16, 2), replace(wrapped(2, 1), how={"crafting": "folded"})]
    conditions.append(replace(wrapped(16, 1), how={"after": {"eps": 8 / 255}}))
    page = one(tmp_path, [cell(model("float"), c) for c in (CLEAN, *conditions)])
    assert [f.all("figcaption")[0].text for f in page.all("figure", "plot")] == [
        "clean",
        "pgd-20 linf against the budget eps",
        "eot-2 16",
        "eot-1 2",
    ]
    ticks = [text.text for text in page.all("figure", "plot")[1].all("text")]
    assert ticks[:4] == ["0", "4/255", "8/255", "16/255"]
