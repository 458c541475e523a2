"""What the papers print is shipped as it was transcribed, and stands where our numbers look for it."""

import csv
import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

import bitproof as bp
from bitproof.conditions import Clean
from bitproof.conditions.base import as_condition
from bitproof.tables import PAPERS, TABLES, Printed, lin2019_bits, lin2019_figures, published, study_of, table_of
from bitproof.tables.claims import judge
from bitproof.tables.costs import cost, told
from bitproof.tables.table import CLEAN, SCALES, Measured
from bitproof.train import Orthogonality
from metric_cells import make_cell

SHIPPED = sorted(file.name for file in (files("bitproof.tables") / "published").iterdir())


def test_a_number_has_its_place_its_text_and_its_rounding():
    found = published("xiao2023", "table1")["ResNet18"]
    assert found["float", "ACC"] == Printed(text="71.06", unit="percent")
    assert found["float", "ACC"].value == 71.06 and found["float", "ACC"].rounding == pytest.approx(0.005)
    assert found["PACT w2a2", "ACC"].value is None and found["PACT w2a2", "ACC"].note == "NC"
    assert published("bernhard2019", "table3")["SVHN"]["w1a1", "BIM acc"].unit == "fraction"
    assert published("lin2019", "table1")["CIFAR10 WRN-28-10"]["DQ 3e-4", "quantize gain"].value == 1.4
    assert published("li2024", "table1")["CIFAR10 ResNet20"]["robust ptq", "trend"].value == -1
    assert published("lin2019", "figure3") == {}
    assert Printed(text="7", unit="percent").rounding == 0.5


def test_every_shipped_file_is_of_a_table_and_every_table_has_its_file():
    numbered = {f"{table.paper}_{table.number}.csv" for table in TABLES if table.number.startswith("table")}
    assert set(SHIPPED) == numbered
    assert {table.paper for table in TABLES} == set(PAPERS)
    assert len({table.name for table in TABLES}) == len(TABLES)


@pytest.mark.parametrize("name", SHIPPED)
def test_no_place_is_taken_twice(name):
    paper, number = re.fullmatch(r"(\w+?)_(\w+)\.csv", name).groups()
    lines = (files("bitproof.tables") / "published" / name).read_text().splitlines()
    found = published(paper, number)
    assert sum(map(len, found.values())) == len(lines) - 1
    assert set(table_of(paper, number).settings) <= set(found)


def test_every_transcribed_value_is_shipped_in_its_order(shared):
    for path in sorted((shared / "published").glob("*_table*.csv")):
        with path.open(newline="") as file:
            given = [row for row in csv.DictReader(file) if "loose value" not in row["note"]]
        text = (files("bitproof.tables") / "published" / path.name.replace("table0", "table")).read_text()
        ours = list(csv.DictReader(text.splitlines()))
        signs = {"+": "1", "-": "-1", "~": "0"}
        assert [row["value"] for row in ours] == [signs.get(row["value"], row["value"].lstrip("+")) for row in given]
        assert [row["note"] == "NC" for row in ours] == [row["note"].startswith("NC") for row in given], path.name
        assert not any(row.get("statement", "") in text for row in given if row.get("statement"))  # only facts


# ---- where our numbers look for them


@pytest.fixture(scope="module")
def digits():
    return bp.load_data("digits", limit=12)


def pretended(table, scale: str, digits, without: str | None = None) -> Measured:
    """Cells as if a study had been run: its models under all its conditions, with coins for answers."""
    setting = table.settings[0]
    study = table.study[scale](setting)
    rng, cells = np.random.default_rng(0), {}
    models = tuple(model for model in study.tested if model != without)
    for name, condition in {CLEAN: Clean(), **study.conditions(digits)}.items():
        about = as_condition(condition).record()
        for model in models if about.source in (None, *models) else ():
            cell = make_cell(rng.random(12) < 0.6, model=model)
            made = {"linf": rng.random(12, np.float32), "l2": rng.random(12, np.float32)}
            if about.kind == "sequence":
                made["frames"] = rng.integers(0, 2, (12, 4))
            if about.kind == "triggered":
                made["targets"] = np.where(cell.labels == 0, -1, 0)
            cells[model, name] = replace(cell, condition=about, **made)
    return Measured(cells=cells, models=models, diverged={}, setting=setting, test=digits, open=lambda _: None)


LOOKS = ("hong2021 table3", "bernhard2019 figure3", "bernhard2019 figure4", "lin2019 figure3")
"""These ask the models themselves."""
FEW = ("bernhard2019 table3", "bernhard2019 table7", "bernhard2019 table17", "hong2021 table4", "hong2021 table5")
FEW += ("hong2021 figure1", "hong2021 figure2", "li2024 table1", "li2024 table2", "lin2019 table1", "lin2019 table3")
FEW += ("lin2019 table4", "xiao2023 table3", "xiao2023 table10")
"""One of each kind; the others are among the slow tests."""


def one_of_each_kind(tables):
    return [pytest.param(table, id=table.name, marks=() if table.name in FEW else pytest.mark.slow) for table in tables]


@pytest.mark.parametrize("table", one_of_each_kind(t for t in TABLES if t.name not in LOOKS))
def test_numbers_stand_where_the_paper_prints_them_and_conclusions_are_about_them(table, digits):
    measured = {scale: pretended(table, scale, digits) for scale in ("smoke", "full")}
    found = {scale: {reading.key: reading for reading in table.read(of)} for scale, of in measured.items()}
    printed = {key for key, value in table.printed(table.settings[0]).items() if value.note != "not applicable"}
    assert printed - set(found["full"]) == set()
    for scale, readings in found.items():
        assert all(0 < reading.n <= 12 or reading.estimate is None for reading in readings.values())
        named = {key for claim in table.claims(measured[scale]) for pair in claim.pairs for key in pair}
        assert named <= set(readings), scale
        if printed:
            assert printed & set(readings), scale


@pytest.mark.parametrize("table", one_of_each_kind(t for t in TABLES if t.name not in LOOKS))
def test_a_model_that_does_not_converge_leaves_the_rest_of_a_table(table, digits):
    for without in table.study["smoke"](table.settings[0]).tested[:2]:
        measured = pretended(table, "smoke", digits, without)
        readings = {reading.key: reading for reading in table.read(measured)}
        assert all(judge(claim, readings).reason for claim in table.claims(measured))


def test_columns_are_named_after_the_conditions_that_they_show(digits):
    study = table_of("xiao2023", "table10").study["smoke"]("ResNet18")
    for name, made in study.conditions(digits).items():
        part = made.decoder if name.startswith("decoder") else made.resize.removesuffix("4")
        assert name.lower().replace("decoder ", "").replace(" ", "-") == part
    for number in ("table6", "table8"):
        for name, made in table_of("xiao2023", number).study["smoke"]("ResNet18").conditions(digits).items():
            assert made.name.lower().startswith(name.split(" ")[0].lower()), name


@pytest.mark.parametrize("table", one_of_each_kind(TABLES))
def test_a_weak_attack_has_a_strong_one_beside_it(table, digits):
    for scale in SCALES:
        names = table.study[scale](table.settings[0]).conditions(digits)
        kinds = {type(getattr(c, "attack", c)).__name__ for c in names.values()} & {"FGSM", "PGD", "APGD", "AutoAttack"}
        if kinds & {"FGSM", "PGD"} and not any(" from " in name for name in names) and "black" not in str(list(names)):
            assert kinds & {"APGD", "AutoAttack"}, (scale, kinds)


UNBROKEN = ("lin2019 table1", "lin2019 figure1", "lin2019 figure3", "lin2019 figure6")
"""Their costs are bounds for models that AutoAttack breaks nowhere; it breaks them within a hundredth of that."""


def test_costs_grow_with_the_scale_and_are_told():
    for table in TABLES:
        costs = [cost(table, scale) for scale in SCALES]
        assert [c.passes for c in costs] == sorted(c.passes for c in costs) and costs[0].passes < 500_000, table.name
        assert costs[1].hours < (12 if table.name in UNBROKEN else 1.5), table.name
    assert all(scale in told(TABLES[0]) for scale in SCALES)


def test_the_regulariser_and_convex_sums_are_what_dq_has_and_vanilla_has_not():
    models = study_of(table_of("lin2019", "table1"), "full").models
    assert len(models) == 4 * 6
    for name, making in models.items():
        row, _, bits = name.rpartition(" ")
        beta = 0.0 if row == "vanilla" else float(row.removeprefix("DQ "))
        weights = [part.weight for part in making.recipe.penalties if isinstance(part, Orthogonality)]
        assert weights == ([beta] if beta else []), name
        assert making.architecture == ("wrn_28_10_convex" if beta else "wrn_28_10")
        quantization = making.recipe.quantization
        assert (32 if quantization is None else quantization.scheme.act_bits) == int(bits)


def test_what_lin2019_concludes_is_asked_that_way_round(digits):
    models = ("vanilla 32", "vanilla 4", "DQ 1e-3 32", "DQ 1e-3 4")
    measured = Measured(cells={}, models=models, diverged={}, setting="", test=digits, open=lambda _: None)
    alone, dq, strong = (claim.pairs for claim in lin2019_bits.bits_and_betas_claims(measured))
    assert alone == ((("vanilla", "FGSM 32 bits"), ("vanilla", "FGSM 4 bits")),)
    assert dq == ((("DQ 1e-3", "FGSM 4 bits"), ("vanilla", "FGSM 4 bits")),)
    assert strong == ((("DQ 1e-3", "AutoAttack 4 bits"), ("vanilla", "AutoAttack 4 bits")),)
    grows, along, small = (claim.pairs for claim in lin2019_figures.amplified_claims(measured))
    assert grows == tuple(((name, "layer 4"), (name, "layer 1")) for name in models)
    assert along == tuple(((name, "layer 4"), (f"{name}, random signs", "layer 4")) for name in models)
    assert small == tuple(((f"vanilla {b}", "layer 4"), (f"DQ 1e-3 {b}", "layer 4")) for b in (32, 4))


def test_the_gain_of_quantization_is_the_first_less_the_second():
    scores = np.array([[1, 1, 1, 0], [0, 0, 1, 0]]).repeat(10, 1) > 0
    low, high = lin2019_bits.GAIN.interval(scores, 0.95)  # pyright: ignore
    assert lin2019_bits.GAIN.of(scores) == 0.5 and 0 < low < 0.5 < high
