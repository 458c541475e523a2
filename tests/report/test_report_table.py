"""The full table repeats the comparison."""

from bitproof import metrics
from bitproof.report.text import bits, p_value, percent, points
from report_cells import N
from report_page import DASH, body


def test_the_full_table_repeats_the_comparison(page, cells):
    (table,) = page.all("table", "full")
    expected = {
        (row["model"], row["condition"]): [
            bits(row["weight_bits"], row["act_bits"]),
            row["kind"],
            str(N),
            percent(row["accuracy"]),
            f"{percent(row['low'])} to {percent(row['high'])}",
            points(row["difference"]),
            DASH if row["difference"] is None else f"{points(row['diff_low'])} to {points(row['diff_high'])}",
            p_value(row["p_value"]),
            p_value(row["p_adjusted"]),
            "3.00",
            "2.00",
            "0.25",
        ]
        for row in metrics.compare(cells, "float")
    }
    shown = {(row[0], row[3]): [*row[1:3], *row[4:]] for row in body(table)}
    assert shown == expected
    assert len(body(table)) == len(cells)


def test_the_full_table_can_be_sorted_by_number_and_by_keyboard(page, cells):
    (table,) = page.all("table", "full")
    heads = table.all("th")
    assert all(head.attributes["aria-sort"] == "none" and head.all("button") for head in heads)
    column = [head.text for head in heads].index("Accuracy %")
    values = [row.all("td")[column].attributes["data-v"] for t in table.all("tbody") for row in t.all("tr")]
    assert sorted(map(float, values)) == sorted(c.correct.mean() for c in cells)
    (box,) = page.all("input")
    assert box.attributes["data-filter"] == table.attributes["id"]
