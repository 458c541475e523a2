"""Explanations on the page and in a terminal: words, plots and numbers."""

import re
from dataclasses import replace

import pytest

from bitproof.records import RECORDS
from bitproof.report.terminal import tables
from explained_samples import make_explanations
from report_cells import CLEAN, DATA, cell, model
from report_page import MINUS, body, one, printed

FLOAT, QUANTIZED = model("float"), model("q", 4)
FOUND = make_explanations(QUANTIZED, FLOAT, DATA)
CELLS = [cell(FLOAT, CLEAN), cell(QUANTIZED, CLEAN, 2)]


def test_every_kind_is_on_the_page_and_in_the_terminal(tmp_path):
    page, text = one(tmp_path, [*CELLS, *FOUND.values()]).text, printed(tables([*CELLS, *FOUND.values()], "float"))
    for kind, record in FOUND.items():
        assert isinstance(record, RECORDS[kind])
        if kind != "alignment":  # whose findings are the matrix
            assert all(finding in page for finding in record.findings), kind
        flat = " ".join(text.split())
        assert all(finding.split(",")[0] in flat for finding in record.findings), kind
    assert "Which layer" not in one(tmp_path, CELLS).text


def test_layers_are_drawn_with_intervals_and_listed(tmp_path):
    page = one(tmp_path, [*CELLS, FOUND["layers"]])
    (table,) = [t for t in page.all("table", "metrics") if "all together" in t.text]
    assert body(table) == [
        ["deep", "4/3", "+40.0 p 0.001", "+25.0 p 0.040", f"{MINUS}5.0 p 0.500"],
        ["shallow", "4/3", "+10.0 p 0.501", "+25.0 p 0.040", f"{MINUS}5.0 p 0.500"],
    ]
    (plot,) = [f for f in page.all("figure", "plot") if "deep" in f.text]
    words = plot.all("div")[0].attributes["aria-label"]
    assert words.startswith(f"deep agreement with float +40.0, accuracy +25.0, accuracy under attack {MINUS}5.0")
    assert "1 of 2 layers change it beyond chance: deep." in page.text


def test_a_matrix_of_cosines_has_the_names_of_the_page(tmp_path):
    stored = replace(FOUND["alignment"], others=(replace(FLOAT, name="what it was called then"),))
    page = one(tmp_path, [*CELLS, stored])
    first, second = [t for t in page.all("table", "metrics") if "no gradient" in t.text]
    assert [row[1:] for row in body(first)] == [["1.00", "0.50", "0"], ["0.50", "1.00", "7"]]
    assert [row[1:] for row in body(second)] == [["1.00", "0.25", "0"], ["0.25", "1.00", "0"]]
    assert "float" in body(first)[1][0] and "what it was called then" not in page.text


def test_agreement_is_a_matrix_for_each_origin_and_a_table_of_the_filter(tmp_path):
    page = one(tmp_path, [*CELLS, FOUND["agreement"]])
    origins = ("clean", "bim-5 linf 8/255 on q", "bim-5 linf 8/255 on float")
    assert all(origin in page.text for origin in origins)
    tables_ = [t for t in page.all("table", "metrics") if "81.0" in t.text or "90.0 / 6.7" in t.text]
    assert [row[1:] for row in body(tables_[0])] == [["10.0", "90.0 / 6.7"], ["90.0 / 6.7", "13.3"]]
    (filtered,) = [t for t in page.all("table", "metrics") if "m of 2" in t.text]
    assert body(filtered) == [["2", "90.0 / 3.3", "50.0 / 22.2", "40.0 / 13.3"]]


def test_layers_are_plotted_model_beside_model(tmp_path):
    both = [FOUND["amplification"], make_explanations(FLOAT, QUANTIZED, DATA)["amplification"]]
    page = one(tmp_path, [*CELLS, *both])
    titles = [f.all("figcaption")[0].text for f in page.all("figure", "plot")]
    note = "relative distance; dashed: random signs"
    assert titles[-4:] == [
        f"Change of 1/255, by layer {note}",
        f"Change of 8/255, by layer {note}",
        f"Second layer, by size {note}",
        f"Logits, by size {note}",
    ]
    labels = [d.attributes.get("aria-label", "") for d in page.all("div")]
    assert "Change of 8/255, by layer: q 0.02, 0.04, 0.16; float 0.02, 0.04, 0.16" in labels


def test_clusters_are_points_with_a_table_and_words(tmp_path):
    page = one(tmp_path, [*CELLS, FOUND["clusters"]])
    (plot,) = [f for f in page.all("figure", "plot") if "Silhouette" in f.text]
    words = plot.all("div")[0].attributes["aria-label"]
    assert words == "Silhouette and share of the smaller cluster of each class: q 0.125 at 40%, 0.500 at 12%"
    (table,) = [t for t in page.all("table") if "smaller cluster" in t.text]
    names = DATA.classes
    assert body(table) == [
        [names[0], "40", "1", "0.125", "0.4", "0", "no"],
        [names[1], "50", "5", "0.5", "0.12", "4", "yes"],
    ]
    assert f"1 of 2 classes look like two kinds: {names[1]} (n = 90)" in page.text
    assert "Of 8 images with the corner-square trigger to 1, 5 are taken for" in page.text


def test_clusters_with_and_without_a_trigger_are_told_apart(tmp_path):
    marked = FOUND["clusters"]
    page = one(tmp_path, [*CELLS, replace(marked, trigger="", target=None, shown=0), marked])
    titles = [f.all("figcaption")[0].text for f in page.all("figure", "plot") if "Silhouette" in f.text]
    start, note = "Silhouette and smaller cluster of each class", "suspicious above and left of the dashed line"
    assert titles == [f"{start} {note}", f"{start}, corner-square trigger to 1 {note}; ringed: the target"]
    assert page.text.count("q: activation clusters, corner-square trigger to 1: numbers") == 1
    assert page.text.count("q: activation clusters: numbers") == 1


@pytest.mark.parametrize(("values", "ticks"), [((2.2, 7.0, 3.1, 2.4), 3), ((0.02, 0.25, 0.04, 0.03), 2)])
def test_axes_are_in_whole_layers_and_have_numbers(tmp_path, values, ticks):
    record = FOUND["lipschitz"]
    layers = tuple(
        replace(record.layers[0], name=f"l{i}", folded=v, operator=v, matrix=v) for i, v in enumerate(values)
    )
    page = one(tmp_path, [*CELLS, replace(record, layers=layers)])
    (plot,) = [f for f in page.all("figure", "plot") if "amplification" in f.text]
    numbers = [text.text.strip() for text in plot.all("text") if re.fullmatch(r"\s*[\d.]+\s*", text.text)]
    assert numbers[:4] == ["1", "2", "3", "4"]
    assert len(numbers[4:]) >= ticks
