"""The report is parsed, and its numbers, pictures and structure are compared with the cells."""

import base64
import io
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from rich.table import Table

from bitproof import metrics
from bitproof.errors import InputError
from bitproof.records import Cell, ConditionRecord, DataRecord, ModelRecord, Pictures
from bitproof.report import write_report
from bitproof.report.panels.gallery import SIDE
from bitproof.report.terminal import comparison, distance_table, notes, tables
from bitproof.report.text import bits, p_value, percent, points
from bitproof.store import Store
from samples import make_diagnosis

N, SHOWN = 40, 5
DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
MODELS = {"float": 32, "w8a8": 8, "w2a2": 2}
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}$\\frac$\ud800"

# ---- cells ---------------------------------------------------------------------------------------------------


def model(name: str, width: int = 32, fingerprint: str | None = None) -> ModelRecord:
    scheme = None if width == 32 else {"weight_bits": width}
    return ModelRecord(
        name=name, fingerprint=fingerprint or f"print of {name}", scheme=scheme, weight_bits=width, act_bits=width
    )


def attack(eps: int, **setting) -> ConditionRecord:
    return ConditionRecord(
        kind="attack",
        label=f"pgd-20 linf {eps}/255",
        group="pgd-20 linf",
        variant=f"{eps}/255",
        setting={"type": "PGD", "eps": eps / 255, "steps": 20, **setting},
        norm="linf",
        eps=eps / 255,
    )


def jpeg(severity: int) -> ConditionRecord:
    return ConditionRecord(
        kind="corruption",
        label=f"jpeg {severity}",
        group="jpeg",
        variant=str(severity),
        setting={"type": "JPEG", "severity": severity},
        severity=severity,
    )


def resize(mode: str) -> ConditionRecord:
    return ConditionRecord(
        kind="systematic",
        label=f"resize {mode}",
        group="resize",
        variant=mode,
        setting={"type": "Resize", "mode": mode},
    )


def transfer(source: str, kappa: int = 0) -> ConditionRecord:
    return ConditionRecord(
        kind="transfer",
        label=f"cw-9 l2 {kappa} from {source}",
        group=f"cw-9 l2 {kappa}",
        setting={"type": "CW", "kappa": kappa},
        norm="l2",
        source=source,
    )


def tilt(difficulty: int) -> ConditionRecord:
    return ConditionRecord(
        kind="sequence",
        label=f"tilt {difficulty}",
        group=f"tilt {difficulty}",
        setting={"type": "Tilt", "difficulty": difficulty},
        severity=difficulty,
        compared="previous",
        step=difficulty,
    )


CLEAN = ConditionRecord(kind="clean", label="clean", group="clean", setting={"type": "Clean"})
CONDITIONS = (CLEAN, attack(16), attack(8), jpeg(2), jpeg(1), resize("box"), resize("area"), resize("nearest"))
DATA = DataRecord(
    name="digits", split="test", fingerprint="0d", count=N, classes=tuple(f"class-{i}" for i in range(10))
)


def cell(
    tested: ModelRecord,
    condition: ConditionRecord,
    wrong: int = 0,
    *,
    data: DataRecord = DATA,
    seed: int = 0,
    channels: int = 1,
    side: int = 4,
) -> Cell:
    """A cell whose last `wrong` examples are wrong; its pictures are the last `SHOWN` examples."""
    ids = np.arange(100, 100 + data.count)
    labels = ids % 10
    predictions = np.where(np.arange(data.count) < data.count - wrong, labels, (labels + 1) % 10)
    clean = np.random.default_rng(0).uniform(0.3, 0.7, (SHOWN, channels, side, side))
    own = tested.name if condition.kind == "attack" else ""
    noise = np.random.default_rng(list(f"{condition.label}{own}".encode(errors="surrogatepass"))).choice(
        [-0.02, 0.02], clean.shape
    )
    images = clean if condition.kind == "clean" else clean + noise
    zeros = np.zeros(data.count, np.float32)
    return Cell(
        model=tested,
        condition=condition,
        data=data,
        seed=seed,
        ids=ids,
        labels=labels,
        predictions=predictions,
        confidences=np.linspace(0.5, 0.99, data.count, dtype=np.float32),
        linf=zeros,
        l2=zeros,
        l1=zeros,
        forwards=3 * data.count,
        backwards=2 * data.count,
        seconds=0.25,
        pictures=Pictures(rows=np.arange(data.count - SHOWN, data.count), images=images.astype(np.float16)),
    )


def grid(**options) -> list[Cell]:
    """Every model under every condition. Wrong examples: 0, 1, 2, ... for float, 0 to 28 more for w2a2."""
    worse = {"float": 0, "w8a8": 1, "w2a2": 4}
    return [
        cell(model(name, width), condition, wrong=i * (1 + worse[name]) if i < 7 else 3, **options)
        for i, condition in enumerate(CONDITIONS)
        for name, width in MODELS.items()
    ]


# ---- a page that can be asked --------------------------------------------------------------------------------

VOID = {"meta", "img", "input", "br", "link", "path", "use", "rect"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    def walk(self) -> Iterator["Element"]:
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    def all(self, tag: str, cls: str | None = None) -> list["Element"]:
        return [
            e for e in self.walk() if e.tag == tag and (cls is None or cls in e.attributes.get("class", "").split())
        ]

    @property
    def text(self) -> str:
        parts = (c if isinstance(c, str) else c.text for c in self.children)
        return " ".join(" ".join(parts).split())


class Parser(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = [Element("page", {})]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, {k: v or "" for k, v in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.open[-1].children.append(Element(tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop().tag == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.open[-1].children.append(data)


def parse(path) -> Element:
    parser = Parser()
    parser.feed(path.read_text("utf-8"))
    (page,) = parser.open
    return page


def body(table: Element) -> list[list[str]]:
    return [[c.text for c in row.children if isinstance(c, Element)] for t in table.all("tbody") for row in t.all("tr")]


def entry(found: float, difference: float | None = None, mark: str = "") -> str:
    shown = f"{100 * found:.1f}" + ("" if difference is None else f" {points(difference)}")
    return f"{shown} {mark}".strip()


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return grid()


@pytest.fixture(scope="module")
def page(cells, tmp_path_factory) -> Element:
    environment = {
        "commit": "abc123",
        "dirty": True,
        "packages": {"torch": "9.9"},
        "gpu": None,
        "command": ["a b", "c"],
    }
    return parse(write_report(cells, tmp_path_factory.mktemp("report") / "r.html", environments=[environment]))


def one(tmp_path, cells, **options) -> Element:
    return parse(write_report(cells, tmp_path / "r.html", **options))


# ---- numbers -------------------------------------------------------------------------------------------------


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
            p_value(row["p_holm"]),
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


def test_the_matrix_shows_accuracy_difference_and_significance(page, cells):
    rows = {(r["model"], r["condition"]): r for r in metrics.compare(cells, "float")}
    (table,) = page.all("table", "matrix")
    shown = {row[0].split(" mean of")[0]: row[1:] for row in body(table) if len(row) > 1}
    for condition in ("clean", "pgd-20 linf 8/255", "jpeg 1", "resize area"):
        expected = []
        for name in MODELS:
            row = rows[name, condition]
            significant = row["p_holm"] is not None and row["p_holm"] < 0.05
            expected.append(entry(row["accuracy"], row["difference"], "▼" if significant else ""))
        assert shown[condition] == expected
    assert "▼" in shown["resize area"][2] and "▼" not in "".join(shown["clean"])


def test_the_matrix_averages_severities_and_counts_the_significant_ones(page, cells):
    rows = {(r["model"], r["condition"]): r for r in metrics.compare(cells, "float")}
    (table,) = page.all("table", "matrix")
    shown = {row[0]: row[1:] for row in body(table)}
    for name, members in (("jpeg", ["jpeg 1", "jpeg 2"]), ("resize", ["resize box", "resize area", "resize nearest"])):
        expected = []
        for model_name in MODELS:
            found = [rows[model_name, member] for member in members]
            worse = sum(r["p_holm"] is not None and r["p_holm"] < 0.05 and r["difference"] < 0 for r in found)
            differences = [r["difference"] for r in found if r["difference"] is not None]
            mark = f"▼ {worse}/{len(found)}" if worse else ""
            mean = sum(r["accuracy"] for r in found) / len(found)
            expected.append(entry(mean, float(np.mean(differences)) if differences else None, mark))
        assert shown[f"{name} mean of {len(members)}"] == expected
    assert "▼ 2/3" in shown["resize mean of 3"][2]
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


def test_the_metrics_repeat_the_summary(page, cells):
    (table,) = page.all("table", "metrics")
    names = list(MODELS)
    shown = {(row[0].split()[0], " ".join(row[0].split()[2:])): row[1:] for row in body(table)}
    summary = metrics.summary(cells, "float")
    for row in summary:
        condition = "over 2 attacks" if row["metric"] == "wcar" else row["condition"]
        value = f"{percent(row['value'])} {percent(row['low'])} to {percent(row['high'])}"
        assert shown[row["symbol"], condition][names.index(row["model"])] == value
    assert len(shown) * len(names) == len(summary) + 2, "the reference has no flips against itself"
    assert shown["NFR", ""][0] == shown["AGR", ""][0] == DASH
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


def findings(page: Element) -> list[str]:
    return [card.text for card in page.all("article", "card")]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (10, "Loses 25.0 points on clean images ({}), significant after Holm correction."),
        (2, "Loses 5.0 points on clean images ({}), not significant after Holm correction."),
        (0, "Differs by 0.0 points on clean images ({}), not significant after Holm correction."),
    ],
)
def test_findings_say_what_the_rows_say(tmp_path, wrong, says):
    right, tested = cell(model("float"), CLEAN), cell(model("q", 4), CLEAN, wrong)
    reference, other = findings(one(tmp_path, [right, tested]))
    _, low, high = metrics.paired_difference(tested.correct, right.correct)
    assert "100.0 % clean" in reference
    assert says.format(f"95% CI {points(low)} to {points(high)}") in other
    worse = int(wrong == 10)
    assert f"Significantly worse than float under {worse} and better under 0 of 1 condition." in other


def test_findings_name_gains_and_the_largest_loss(tmp_path):
    tested = [cell(model("float"), CLEAN, 10), cell(model("q", 4), CLEAN)]
    tested += [cell(model("float"), jpeg(1), 1), cell(model("q", 4), jpeg(1), 13), cell(model("float"), jpeg(2), 2)]
    tested += [cell(model("q", 4), jpeg(2), 11)]
    reference, other = findings(one(tmp_path, tested))
    assert "Lowest accuracy: 75.0% on clean images" in reference
    assert "Gains 25.0 points" in other
    assert "worse than float under 2 and better under 1 of 3 conditions" in other
    assert "Largest loss: 30.0 points under jpeg 1 (95% CI" in other
    gains = [*tested[:2], cell(model("float"), jpeg(3), 3), cell(model("q", 4), jpeg(3))]
    assert "Largest loss" not in findings(one(tmp_path, gains))[1]


def test_without_a_common_condition_nothing_is_compared(tmp_path):
    page = one(tmp_path, [cell(model("float"), CLEAN), cell(model("q", 4), jpeg(1), 3)])
    assert "No condition in common with float" in findings(page)[1]


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (percent, 0.97249, "97.2"),
        (percent, None, DASH),
        (points, -0.031, f"{MINUS}3.1"),
        (points, 0.031, "+3.1"),
        (points, -0.0001, "0.0"),
        (p_value, 0.0004, "< 0.001"),
        (p_value, 0.0304, "0.030"),
    ],
)
def test_numbers_are_written_alike(write, value, text):
    assert write(value) == text


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
    assert rows["jpeg mean of 2"].text.endswith("▼ 1/2 ▲ 1/2")
    text = printed(comparison(tested, "float"))
    assert "(+37.50*)" in text[text.index("jpeg 1") :].splitlines()[0]
    assert "(-37.50*)" in text[text.index("jpeg 2") :].splitlines()[0]
    assert "(+0.00 )" in text[text.index("clean") :].splitlines()[0]


def test_a_metric_of_each_sequence_has_a_line(tmp_path):
    frames = np.zeros((N, 5), np.int64)
    frames[:10, 1::2] = 1
    tested = [replace(cell(model("float"), tilt(step)), frames=frames) for step in (1, 2)]
    (table,) = one(tmp_path, tested).all("table", "metrics")
    shown = {row[0]: row[1].split()[0] for row in body(table)}
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


def printed(tables: list[Table]) -> str:
    """What a wide terminal shows."""
    console = Console(record=True, width=200, file=io.StringIO())
    for table in tables:
        console.print(table)
    return console.export_text()


# ---- transfers, records of other kinds -----------------------------------------------------------------------


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


def test_records_without_cells_have_a_section(tmp_path):
    other = replace(DATA, name="svhn", fingerprint="0e", count=20)
    page = one(tmp_path, [make_diagnosis(model("alone"), other), cell(model("float"), CLEAN)])
    assert [h.text for h in page.all("h2")][:2] == ["digits test, n = 40, seed 0", "svhn test, n = 20, seed 0"]
    first, second = (s for s in page.all("section") if s.all("h2") and s.attributes["id"] != "provenance")
    assert [h.text for h in second.all("h3")] == ["Masked gradients"] and "alone" in second.text
    assert "alone" not in first.text


def test_a_model_without_cells_has_no_column_but_its_diagnosis(tmp_path):
    page = one(tmp_path, [cell(model("float"), CLEAN), make_diagnosis(model("q", 4), DATA)])
    assert columns(page) == ["float"]
    assert "q : Gradients are masked" in page.text


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
    assert printed(tables(odd, "[red]a")).count("[red]a") == 5  # as it is: two heads, a caption, a title, a sentence
    seen = np.arange(1, N + 1, dtype=np.uint64)
    alike = [replace(cell(model("float"), c), digests=seen) for c in (CLEAN, resize("box"))]
    assert notes(alike) == [f"resize box gave the same pixels as clean on all {N} images"]
    assert notes(cells) == []


# ---- plots ---------------------------------------------------------------------------------------------------


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


def nearest(tested: ModelRecord, label: str, far: list[float]) -> Cell:
    """A cell of an attack without a budget that finds wrong images of the first examples `far` off, and no others."""
    norm = label.split()[1]
    condition = ConditionRecord(
        kind="minimum", label=label, group=label, setting={"type": label}, norm=norm, eps=float("inf")
    )
    found = cell(tested, condition)
    moved = np.pad(np.array(far, np.float32), (0, N - len(far)))
    predictions = np.where(np.arange(N) < len(far), found.labels + 1, found.labels)
    return replace(found, predictions=predictions, **{norm: moved})


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


# ---- gallery -------------------------------------------------------------------------------------------------


def pixels(picture: Element) -> np.ndarray:
    (image,) = picture.all("img")
    encoded = image.attributes["src"].removeprefix("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))


def levels(stored: np.ndarray) -> np.ndarray:
    return (stored.astype(np.float32) * 255).round().astype(np.uint8)


def exhibits(page: Element) -> dict[str, list[Element]]:
    return {e.all("h4")[0].text: e.all("article", "example") for e in page.all("section", "exhibit")}


def test_the_gallery_shows_the_strongest_conditions(page):
    found = exhibits(page)
    assert list(found) == [
        "pgd-20 linf 16/255 each model has its own adversarial image",
        "jpeg 2 the same image for all models",
        "resize area the same image for all models",
        "resize nearest the same image for all models",
    ]
    counts = [[len(example.all("img")) for example in examples] for examples in found.values()]
    assert counts == [[5] * 3, [3] * 3, [3] * 3, [3] * 3]


def test_the_gallery_shows_the_stored_images_and_says_how_much_it_amplifies(page, cells):
    by_name = {(c.model.name, c.condition.label): c for c in cells}
    examples = exhibits(page)["pgd-20 linf 16/255 each model has its own adversarial image"]
    for example in examples:
        position = int(re.findall(r"#(\d+)", example.text)[0]) - 100 - (N - SHOWN)
        clean, *others = example.all("figure", "picture")
        stored = by_name["float", "clean"].pictures.images[position, 0]
        np.testing.assert_array_equal(pixels(clean), levels(stored))
        for name, (tested, difference) in {"float": others[:2], "w2a2": others[2:]}.items():
            adversarial = by_name[name, "pgd-20 linf 16/255"].pictures.images[position, 0]
            np.testing.assert_array_equal(pixels(tested), levels(adversarial))
            assert f"for {name}" in tested.text
            assert (
                difference.text == "difference \N{MULTIPLICATION SIGN} 20"
            )  # 0.02 grows to 0.4; 50 would exceed the range
            change = adversarial.astype(np.float32) - stored.astype(np.float32)
            np.testing.assert_array_equal(pixels(difference), levels(0.5 + 20 * change))


def test_the_gallery_says_who_was_right(page):
    first, *_ = exhibits(page)["jpeg 2 the same image for all models"]
    # w2a2 has 15 wrong of 40 there, float 3, so of the five stored examples the last three flip for both.
    assert first.all("h5")[0].text == "#137: class-7"
    clean, tested, _ = first.all("figure", "picture")
    confidence = f"{100 * np.linspace(0.5, 0.99, N)[37]:.0f}%"
    verdicts = [" ".join(v.text.split()[1:]) for p in (clean, tested) for v in p.all("span", "verdict")]
    right, wrong = f"✓ class-7 {confidence}", f"✗ class-8 {confidence}"
    assert verdicts == [
        f"float: right, {right}",
        f"w2a2: right, {right}",
        f"float: wrong, {wrong}",
        f"w2a2: wrong, {wrong}",
    ]


def test_changed_outcomes_come_first(tmp_path):
    tested = [cell(model("float"), CLEAN, 1), cell(model("float"), jpeg(1), 2)]
    (examples,) = exhibits(one(tmp_path, tested)).values()
    assert [e.all("h5")[0].text.split(":")[0] for e in examples] == ["#138", "#135", "#136"]


def test_pictures_are_matched_by_id(tmp_path):
    clean, tested = cell(model("float"), CLEAN), cell(model("float"), jpeg(1), 2)
    back = {name: getattr(tested, name)[::-1] for name in ("ids", "labels", "predictions", "confidences")}
    turned = replace(
        tested, **back, pictures=Pictures(rows=N - 1 - tested.pictures.rows, images=tested.pictures.images)
    )
    assert [str(e) for e in one(tmp_path, [clean, turned]).all("section", "exhibit")] == [
        str(e) for e in one(tmp_path, [clean, tested]).all("section", "exhibit")
    ]


def test_an_image_that_was_left_alone_shows_no_difference(tmp_path):
    clean = cell(model("float"), CLEAN, N)
    page = one(tmp_path, [clean, replace(clean, condition=attack(8))])
    captions = [f.text for f in page.all("figure", "picture")]
    assert captions.count("no difference") == 3
    assert np.ptp(pixels(page.all("figure", "picture")[2])) == 0


def test_colour_and_large_images(tmp_path):
    options = {"channels": 3, "side": 2 * SIDE}
    page = one(tmp_path, [cell(model("float"), CLEAN, **options), cell(model("float"), jpeg(1), 2, **options)])
    pictures = page.all("figure", "picture")
    assert {pixels(p).shape for p in pictures} == {(SIDE, SIDE, 3)}
    assert not page.all("img", "pixelated")


def test_a_class_that_the_data_set_does_not_have(tmp_path):
    odd = cell(model("float"), jpeg(1), 3)
    odd.predictions[odd.predictions != odd.labels] = 10
    assert "✗ class 10" in one(tmp_path, [cell(model("float"), CLEAN), odd]).text


def test_without_pictures_there_is_no_gallery(tmp_path):
    none = Pictures(rows=np.arange(0), images=np.zeros((0, 1, 4, 4), np.float16))
    tested = [cell(model("float"), CLEAN), cell(model("float"), jpeg(1))]
    page = one(tmp_path, [replace(c, pictures=none) for c in tested])
    assert not page.all("img") and "What the models saw" not in page.text


# ---- what is a model, a condition, a section -----------------------------------------------------------------


def columns(page: Element) -> list[str]:
    return [" ".join(th.text.split()[1:-1]) for th in page.all("table", "matrix")[0].all("thead")[0].all("th")[1:]]


def test_the_reference_comes_first_and_bits_fall(page, tmp_path):
    assert columns(page) == ["float", "w8a8", "w2a2"]
    tested = [cell(model(name, width), CLEAN) for name, width in (("low", 2), ("mid", 4), ("a", 32), ("b", 32))]
    assert columns(one(tmp_path, tested)) == ["a", "b", "mid", "low"]
    assert columns(one(tmp_path, tested, reference="mid")) == ["mid", "a", "b", "low"]
    assert columns(one(tmp_path, tested[:2])) == ["low", "mid"]


def test_models_of_one_name_are_told_apart(tmp_path):
    tested = [cell(model("m", 32, "abcdef99"), CLEAN, 1), cell(model("m", 32, "123456ff"), CLEAN, 2)]
    tested += [cell(model("m", 4, "123456ff"), CLEAN, 3)]
    first, second, third = columns(one(tmp_path, tested))
    assert first == "m (abcdef)"
    assert re.fullmatch(r"m \([0-9a-f]{6}\)", second) and re.fullmatch(r"m \([0-9a-f]{6}\)", third)
    assert len({first, second, third}) == 3
    assert columns(one(tmp_path, tested, reference=second))[0] == second


def test_a_model_that_a_store_knows_by_two_names_is_one(tmp_path):
    a, b = model("a", fingerprint="same"), model("b", fingerprint="same")
    stored = [cell(a, CLEAN), cell(b, jpeg(1), 3)]
    assert columns(one(tmp_path, stored)) == ["a"]
    stored.insert(0, cell(model("c"), CLEAN))
    assert columns(one(tmp_path, stored)) == ["c", "a"]
    assert columns(one(tmp_path, stored, reference="b")) == ["a", "c"]


def test_two_names_that_somebody_asked_for_stay(tmp_path):
    tested = [cell(model(name, fingerprint="same"), c) for name in ("a", "b") for c in (CLEAN, jpeg(1))]
    assert columns(one(tmp_path, tested)) == ["a", "b"]


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


def test_a_kind_of_ones_own_comes_last_under_its_own_name(tmp_path):
    mine = ConditionRecord(kind="moonlight", label="moon 2", group="moon", setting={}, severity=2)
    page = one(tmp_path, [cell(model("float"), c) for c in (mine, resize("box"), CLEAN)])
    assert [row[0] for row in body(page.all("table", "matrix")[0])][-2:] == ["Moonlight", "moon 2"]
    assert "moon 2 the same image for all models" in exhibits(page)


def test_settings_that_share_a_label_are_told_apart(tmp_path):
    tested = [cell(model("float"), c) for c in (CLEAN, attack(8, loss="ce"), attack(8, loss="margin"))]
    names = [row[0] for row in body(one(tmp_path, tested).all("table", "matrix")[0])]
    assert names[2:] == ["pgd-20 linf 8/255 (loss=ce)", "pgd-20 linf 8/255 (loss=margin)"]


def test_each_data_set_and_seed_has_a_section(tmp_path):
    other = replace(DATA, name="svhn", fingerprint="0e", count=20)
    tested = [
        cell(model(name, width), c, **o)
        for o in ({}, {"seed": 1}, {"data": other})
        for c in (CLEAN, jpeg(1))
        for name, width in MODELS.items()
    ]
    page = one(tmp_path, tested, reference="w8a8")
    titles = [h.text for h in page.all("h2")]
    assert titles == [
        "digits test, n = 40, seed 0",
        "digits test, n = 40, seed 1",
        "svhn test, n = 20, seed 0",
        "Provenance",
    ]
    assert len(page.all("table", "matrix")) == 3
    assert [len(body(table)) for table in page.all("table", "full")] == [6, 6, 6]
    only_here = [*tested[:6], cell(model("alone"), CLEAN, data=other)]
    assert "alone" in one(tmp_path, only_here, reference="w8a8").text, "a section without the reference has its own"


# ---- the file ------------------------------------------------------------------------------------------------


def test_conditions_that_showed_the_same_pixels_are_named(tmp_path, page):
    seen = np.arange(1, N + 1, dtype=np.uint64)  # 0 stands for an image that was not made
    digests = {
        "clean": seen,
        "resize box": seen,
        "resize area": np.where(seen < 6, seen, seen + 1000).astype(np.uint64),
    }
    cells = [replace(c, digests=digests.get(c.condition.label)) for c in grid()]
    sentences = [item.text for item in one(tmp_path, cells).all("li")]
    assert sentences == [
        f"resize box gave the same pixels as clean on all {N} images.",
        f"resize area gave the same pixels as clean on 5 of {N} images.",
    ]
    assert not page.all("li")  # nothing was recorded there


def check_self_contained(page: Element) -> None:
    elements = list(page.walk())
    assert not {e.tag for e in elements} & {"link", "iframe", "object", "embed", "base", "form"}
    for e in elements:
        assert e.attributes.get("src", "data:").startswith("data:"), e
        for name in ("href", "xlink:href"):
            assert e.attributes.get(name, "#").startswith("#"), e
        assert not [name for name in e.attributes if name.startswith("on")], e
        assert not re.search(r"url\((?!#)", e.attributes.get("style", "")), e
    (style,), (script,) = page.all("style"), page.all("script")
    assert not re.search(r"url\(|@import", style.text) and "fetch" not in script.text
    policy = [e.attributes["content"] for e in elements if e.attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy and policy[0].startswith("default-src 'none'")
    ids = [e.attributes["id"] for e in elements if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    targets = {e.attributes[k][1:] for e in elements for k in ("href", "xlink:href") if k in e.attributes}
    assert targets and targets <= set(ids)


def test_the_page_loads_nothing(page):
    check_self_contained(page)


def test_hostile_names_are_only_text(tmp_path):
    data = replace(DATA, name=EVIL, split=EVIL, classes=(EVIL,) * 10)
    conditions = [
        replace(c, label=f"{EVIL} $\\frac{i}$", group=EVIL) for i, c in enumerate((attack(4), attack(8), jpeg(1)))
    ]
    tested = [
        cell(model(name, width), c, 1, data=data)
        for c in (CLEAN, *conditions)
        for name, width in ((EVIL, 32), ("q", 4))
    ]
    page = one(tmp_path, tested, title=EVIL, environments=[{EVIL: EVIL, "packages": {EVIL: [EVIL]}}])
    check_self_contained(page)
    assert len(page.all("img")) == 3 * 5 + 3 * 3
    shown = EVIL.replace("\ud800", "?")
    assert shown in page.all("h1")[0].text and shown in columns(page)[0] and shown in page.all("dl")[0].text


def test_provenance(page, cells):
    (section,) = [s for s in page.all("section") if s.attributes.get("id") == "provenance"]
    environment, definitions = section.all("dl")
    assert environment.text == "commit abc123 dirty yes packages torch 9.9 gpu none command 'a b' c"
    assert all(m.description in definitions.text and m.source in definitions.text for m in metrics.METRICS.values())
    cost, keys = (body(table) for table in section.all("table"))
    assert [row[2:] for row in cost] == [["8", "960", "640", "2.0"]] * 3  # 8 conditions of 40 examples
    assert {row[0] for row in keys} == {c.key for c in cells}


def test_equal_cells_give_equal_bytes(tmp_path):
    tested = [cell(model("float"), c) for c in (CLEAN, jpeg(1))]
    a, b = (write_report(tested, tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert a == b


def test_what_the_user_set_for_other_plots_does_not_matter(tmp_path):
    import matplotlib

    tested = [cell(model("float"), CLEAN)]
    plain = write_report(tested, tmp_path / "a.html").read_bytes()
    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "red", "font.size": 30}):
        assert write_report(tested, tmp_path / "b.html").read_bytes() == plain
        assert matplotlib.rcParams["font.size"] == 30


def test_the_report_of_a_store(tmp_path, cells):
    with Store(tmp_path / "runs.db") as store:
        run = store.begin_run({"processor": "a chip"})
        for c in cells:
            store.append(c, run)
    with Store(tmp_path / "runs.db", readonly=True) as store:
        page = one(tmp_path, store.query(), environments=list(store.environments().values()))
    fresh = parse(write_report(cells, tmp_path / "memory.html"))
    for cls in ("matrix", "metrics", "full"):
        assert str(page.all("table", cls)) == str(fresh.all("table", cls))
    assert "a chip" in page.text


def test_neither_torch_nor_the_plotting_library_is_loaded_early(tmp_path):
    code = "import sys, bitproof.report; assert not {'torch', 'matplotlib', 'jinja2', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_cells():
    with pytest.raises(InputError, match=r"no results to report.*at least one cell.*bitproof evaluate"):
        write_report([])


def test_an_unknown_reference(tmp_path):
    with pytest.raises(InputError, match=r"unknown reference model 'flaot'.*Did you mean 'float'"):
        one(tmp_path, [cell(model("float"), CLEAN)], reference="flaot")


@pytest.mark.parametrize("where", ["missing/r.html", "file/r.html", "."])
def test_a_path_that_cannot_be_written(tmp_path, where):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write .*one file in an existing folder.*Choose a writable path"):
        write_report([cell(model("float"), CLEAN)], tmp_path / where)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_report(tmp_path):
    path = tmp_path / "r.html"
    path.write_text("the old report")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InputError, match=r"File too large.*disk with room"):
            write_report([cell(model("float"), CLEAN)], path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "the old report"
    assert list(tmp_path.iterdir()) == [path]


def test_an_old_report_is_replaced(tmp_path):
    path = tmp_path / "r.html"
    path.write_text("the old report")
    assert write_report([cell(model("float"), CLEAN)], path) == path
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]
