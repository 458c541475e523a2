"""The panel of metrics."""

from dataclasses import replace

import numpy as np

from bitproof import metrics
from bitproof.records import ConditionRecord
from bitproof.report.terminal import tables
from bitproof.report.text import percent, points
from report_cells import CLEAN, MODELS, N, attack, cell, jpeg, model, tilt
from report_page import DASH, MINUS, body, one, printed


def test_the_metrics_repeat_the_summary(page, cells):
    (table,) = page.all("table", "metrics")
    names = list(MODELS)
    shown = {(row[0].split()[0], " ".join(row[0].split()[2:])): row[1:] for row in body(table)}
    summary = metrics.summary(cells, "float")
    for row in summary:
        condition = "over 2 attacks" if row["metric"] == "wcar" else row["condition"]
        value = percent(row["value"])
        if row["low"] is not None:
            value += f" {percent(row['low'])} to {percent(row['high'])}"
        if row["difference"] is not None:
            value += f" {points(row['difference'])}"
        assert shown[row["symbol"], condition][names.index(row["model"])] == value
    assert len(shown) * len(names) == len(summary) + 3, "the reference has no flips against itself"
    assert shown["NFR", ""][0] == shown["AGR", ""][0] == shown["WCC", ""][0] == DASH
    arrows = {row[0].split()[0]: row[0].split()[1] for row in body(table)}
    expected = {m.symbol: "↑" if m.higher_is_better else "↓" for m in metrics.METRICS.values()}
    assert arrows == {symbol: expected[symbol] for symbol in {row["symbol"] for row in summary}}


def test_undefined_metrics_and_missing_cells_are_dashes(tmp_path):
    tested = [cell(model("a"), CLEAN, wrong=N), cell(model("a"), attack(8), wrong=N), cell(model("b", 4), CLEAN)]
    tested += [cell(model("a"), jpeg(1)), cell(model("a"), jpeg(2)), cell(model("b", 4), jpeg(1))]
    page = one(tmp_path, tested)
    matrix = {row[0]: row[1:] for row in body(page.all("table", "matrix")[0])}
    assert matrix["pgd-20 linf 8/255"] == ["0.0", DASH]
    assert matrix["jpeg mean of 2"] == ["100.0", DASH], "a mean over fewer severities does not compare"
    assert matrix["jpeg 1"] == ["100.0", "100.0 0.0"]
    shown = {row[0]: row[1:] for row in body(page.all("table", "metrics")[0])}
    assert shown["AAI ↓ pgd-20 linf 8/255"] == [DASH, DASH]


def test_a_metric_of_each_sequence_has_a_line(tmp_path):
    frames = np.zeros((N, 5), np.int64)
    frames[:10, 1::2] = 1
    tested = [replace(cell(model("float"), tilt(step)), frames=frames) for step in (1, 2)]
    (table,) = one(tmp_path, tested).all("table", "metrics")
    shown = {row[0]: row[1].split()[0] for row in body(table)}
    still = [replace(cell(model("q", 4), tilt(step)), frames=np.zeros((N, 5), np.int64)) for step in (1, 2)]
    (marked,) = one(tmp_path, [*tested, *still]).all("table", "metrics")
    entries = {row[0]: row[2] for row in body(marked)}
    assert entries["FP ↓ tilt 1"].endswith(f"{MINUS}25.0 ▲") and entries["FP ↓ tilt 2"].endswith("0.0")
    stars = [line for line in printed(tables([*tested, *still], "float")).splitlines() if "*)" in line]
    assert len(stars) == 1 and "FP ↓ tilt 1" in stars[0] and "(-0.2500*)" in stars[0]
    assert shown == {"FP ↓ tilt 1": "25.0", "FP ↓ tilt 2": "0.0", "mFP ↓": "12.5"}


def test_a_metric_of_ones_own_is_shown_everywhere(tmp_path, monkeypatch):
    mine = replace(
        metrics.METRICS["accuracy"], name="mine", symbol="MINE", description="what I measure", needs=("moon",)
    )
    monkeypatch.setitem(metrics.METRICS, "mine", mine)
    moon = ConditionRecord(kind="moon", label="moon", group="moon", setting={})
    tested = [cell(model("float"), moon, 10)]
    page = one(tmp_path, tested)
    assert [row[0] for row in body(page.all("table", "metrics")[0])] == ["MINE ↑"]
    assert "what I measure" in page.all("dl")[-1].text
    assert "MINE ↑" in printed(tables(tested, "float")) and "0.7500" in printed(tables(tested, "float"))


def test_what_is_no_share_is_not_in_percent(tmp_path, monkeypatch):
    radius = replace(
        metrics.METRICS["accuracy"],
        name="radius",
        symbol="RADIUS",
        bounds=(0.0, np.inf),
        scores=lambda chosen: 0.0567 + chosen.cells[0].correct[None] * 0.0,
    )
    monkeypatch.setitem(metrics.METRICS, "radius", radius)
    page = one(tmp_path, [cell(model("float"), CLEAN, 10), cell(model("q", 4), CLEAN, 10)])
    shown = {row[0]: row[1:] for row in body(page.all("table", "metrics")[0])}
    assert [entry.split()[0] for entry in shown["RADIUS ↑"]] == ["0.057", "0.057"]
    assert shown["RADIUS ↑"][1].split()[-1] == "0.000"
    assert shown["ACC ↑"][0].startswith("75.0")
