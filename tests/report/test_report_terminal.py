"""The terminal shows what the page shows."""

from dataclasses import replace

import numpy as np

from bitproof.report.terminal import comparison, notes, tables
from report_cells import CLEAN, DATA, N, cell, model, nearest, resize
from report_page import body, one, printed
from samples import make_diagnosis


def test_the_terminal_shows_every_kind_of_record():
    cells = [cell(model("float"), CLEAN), cell(model("q", 4), CLEAN, 2)]
    found = [*cells, nearest(model("float"), "fmn-9 linf", [2 / 255] * N), make_diagnosis(model("q", 4), DATA)]
    titles = [table.title.split(" [")[0].split(",")[0] for table in tables(found, "float")]
    assert titles == [
        "accuracy in %",
        "metrics",
        "distance within which half of the images have a wrong one",
        "masked gradients: q",
    ]
    text = printed(tables(found, "float"))
    assert "NFR ↓" in text and "0.0500" in text and "q has none on 40% of its examples." in text
    assert [table.title for table in tables(found[-1:], "float")] == ["masked gradients: q"]
    odd = [replace(c, model=replace(c.model, name="[red]a")) for c in cells[:1]]
    odd.append(make_diagnosis(odd[0].model, DATA))
    assert printed(tables(odd, "[red]a")).count("[red]a") == 4  # as it is: two heads, a title, a sentence
    seen = np.arange(1, N + 1, dtype=np.uint64)
    alike = [replace(cell(model("float"), c), digests=seen) for c in (CLEAN, resize("box"))]
    assert notes(alike) == [f"resize box gave the same pixels as clean on all {N} images"]
    assert notes(cells) == []


def test_one_model_is_compared_with_none():
    shown = printed(tables([cell(model("float"), CLEAN)], "float"))
    assert "against" not in shown and "brackets" not in shown
    assert "in brackets: points against float" in printed(
        tables([cell(model("float"), CLEAN), cell(model("q", 4), CLEAN)], "float")
    )


def test_random_weights_are_said(tmp_path):
    untrained = [
        replace(cell(model(n, b), CLEAN), model=replace(model(n, b), origin={"weights": "random"}))
        for n, b in (("float", 32), ("q", 4))
    ]
    words = "float, q have random weights, as none were given"
    assert words in " ".join(printed(tables(untrained, "float")).split())
    assert words in one(tmp_path, untrained).text
    assert "q has random weights" in " ".join(printed(tables(untrained[1:], "q")).split())


def test_terminal_and_report_give_the_same_verdicts(tmp_path, cells):
    text = printed(comparison(cells, "float"))
    stars = {
        line.split("│")[1].strip().split(", mean")[0]: line.count("*)") for line in text.splitlines() if "│" in line
    }
    (table,) = one(tmp_path, cells).all("table", "matrix")
    marks = {row[0].split(" mean of")[0]: "".join(row[1:]).count("▼") for row in body(table) if len(row) > 1}
    assert stars == marks and sum(marks.values()) > 3
