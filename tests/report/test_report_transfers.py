"""Transfers: a heading, an exhibit and a matrix of sources and targets."""

from report_cells import CLEAN, cell, model, transfer
from report_page import body, exhibits, one


def test_transfers_have_a_heading_an_exhibit_and_a_matrix_of_sources_and_targets(tmp_path):
    models = [model("float"), model("q", 4)]
    tested = [cell(m, CLEAN) for m in models]
    wrong = {("float", "float"): 30, ("float", "q"): 12, ("q", "float"): 4, ("q", "q"): 20}
    tested += [cell(m, transfer(source), wrong[source, m.name]) for source in ("float", "q") for m in models]
    tested += [cell(m, transfer("q", 5), 7) for m in models]
    page = one(tmp_path, tested)
    shown = [row[0] for row in body(page.all("table", "matrix")[0])]
    assert shown[1:] == [
        "Transfers",
        "cw-9 l2 0 from float",
        "transfers from q mean of 2",
        "cw-9 l2 0 from q",
        "cw-9 l2 5 from q",
    ]
    (table,) = [t for t in page.all("table", "metrics") if "Made on" in t.text]
    rows = [[text.split()[0] if i else text for i, text in enumerate(row)] for row in body(table)]
    assert rows == [
        ["cw-9 l2 0"],
        ["● float", "25.0", "70.0"],
        ["■ q", "90.0", "50.0"],
        ["cw-9 l2 5"],
        ["■ q", "82.5", "82.5"],
    ]
    assert [[td.attributes.get("class", "") for td in row.all("td")] for row in table.all("tr") if row.all("td")] == [
        ["own", ""],
        ["", "own"],
        ["", "own"],
    ]
    assert list(exhibits(page)) == [
        f"{c.label} the same image for all models" for c in (transfer("float"), transfer("q", 5))
    ]
    plain = one(tmp_path, tested[:2])
    assert "Transfers" not in plain.text and len(plain.all("table", "metrics")) == 1
