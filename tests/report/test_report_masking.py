"""Diagnoses of masked gradients beside the cells of their model."""

from report_cells import CLEAN, DATA, cell, model
from report_page import DASH, body, columns, one
from samples import make_diagnosis


def test_a_diagnosis_is_shown_with_the_cells_of_its_model_data_and_seed(tmp_path):
    tested = [
        cell(model(name, width), CLEAN, seed=seed) for seed in (0, 1) for name, width in (("float", 32), ("q", 4))
    ]
    found = [make_diagnosis(model("q", 4), DATA), *tested, make_diagnosis(model("float"), DATA, fires=False)]
    page = one(tmp_path, found)
    (heading,) = [h for h in page.all("h3") if h.text == "Masked gradients"]
    assert heading.attributes["id"] == "s1-masking"
    (table,) = [t for t in page.all("table", "metrics") if "Signal" in t.text]
    assert body(table) == [
        ["no gradient at all", "0.0 p 0.002", "fires 40.0 p 0.002"],
        ["a twin does better", DASH, DASH],
    ]
    assert "q : Gradients are masked: 1 of 1 signals fire on 90 examples" in page.text
    assert "float : No sign of masked gradients" in page.text
    assert "Masked gradients" not in one(tmp_path, tested).text


def test_a_model_without_cells_has_no_column_but_its_diagnosis(tmp_path):
    page = one(tmp_path, [cell(model("float"), CLEAN), make_diagnosis(model("q", 4), DATA)])
    assert columns(page) == ["float"]
    assert "q : Gradients are masked" in page.text
