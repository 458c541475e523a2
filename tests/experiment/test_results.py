"""What a result shows of its records, and hands on."""

import json
import re

import pytest

from bitproof.experiment.results import Result
from bitproof.records import Cell
from samples import make_cell, make_diagnosis


def result(records, reference="float") -> Result:
    return Result(records=records, reference=reference, computed=3, reused=1, environments=[])


@pytest.fixture
def cells() -> list[Cell]:
    return [make_cell(model=m, kind=k, label=k, n=60) for m in ("float", "w4a4") for k in ("clean", "attack")]


def test_cells_and_diagnoses_are_views_of_the_records(cells):
    diagnosis = make_diagnosis(cells[2].model, cells[2].data)
    found = result([cells[0], diagnosis, *cells[1:]])
    assert found.cells == cells and found.diagnoses == [diagnosis]
    assert len(found.table()) == 4
    assert set(found.summary().query("metric == 'nfr'")["model"]) == {"w4a4"}


def test_a_result_prints_as_a_few_lines(cells):
    shown = repr(result([*cells, make_diagnosis(cells[0].model, cells[0].data)]))
    a, b = (100 * cell.correct.mean() for cell in (cells[0], cells[2]))
    assert b < a
    assert shown.splitlines() == [
        "Result: 2 models under 2 conditions on sample test, 60 examples, seed 0",
        f"  float  32/32  {a:>5.1f}% clean, the reference",
        f"  w4a4   32/32  {b:>5.1f}% clean, \N{MINUS SIGN}{a - b:.1f} points",
        "3 records computed, 1 found in the store",
        "See table(), tests(), summary(), transfer(), distances(), same_pixels(), report(path), export(path)",
    ]
    many = repr(result([make_cell(model=f"m{i}") for i in range(40)], reference="m0"))
    assert len(many.splitlines()) < 20 and "and 28 more" in many


def test_a_notebook_shows_conditions_by_models(cells):
    evil = make_cell(model="<script>", n=60)
    shown = result([*cells, evil])._repr_html_()
    head, *rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in shown.split("</tr>")[:-1]]
    assert head == ["", "float", "w4a4", "&lt;script&gt;"] and "<script>" not in shown
    clean, attack = (
        [f"{100 * cell.correct.mean():.1f}" for cell in (*cells, evil) if cell.condition.kind == kind]
        for kind in ("clean", "attack")
    )
    assert rows == [["clean", *clean], ["attack", *attack, ""]]


def test_report_and_export_hand_on_every_record(cells, tmp_path):
    found = result([*cells, make_diagnosis(cells[0].model, cells[0].data)])
    assert "Masked gradients" in found.report(tmp_path / "r.html").read_text()
    assert found.export(tmp_path / "r.json") == 5
    assert len(json.loads((tmp_path / "r.json").read_text())) == 5
    assert found.export(tmp_path / "r.csv") == 4 * 60
