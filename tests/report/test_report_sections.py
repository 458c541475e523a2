"""What is a model, a condition, a section."""

import re
from dataclasses import replace

from bitproof.records import ConditionRecord
from report_cells import CLEAN, DATA, MODELS, attack, cell, jpeg, model, resize
from report_page import body, columns, exhibits, one
from samples import make_diagnosis


def test_records_without_cells_have_a_section(tmp_path):
    other = replace(DATA, name="svhn", fingerprint="0e", count=20)
    page = one(tmp_path, [make_diagnosis(model("alone"), other), cell(model("float"), CLEAN)])
    assert [h.text for h in page.all("h2")][:2] == ["digits test, n = 40, seed 0", "svhn test, n = 20, seed 0"]
    first, second = (s for s in page.all("section") if s.all("h2") and s.attributes["id"] != "provenance")
    assert [h.text for h in second.all("h3")] == ["Masked gradients"] and "alone" in second.text
    assert "alone" not in first.text


def test_the_reference_comes_first_and_bits_fall(page, tmp_path):
    assert columns(page) == ["float", "w8a8", "w2a2"]
    tested = [cell(model(name, width), CLEAN) for name, width in (("low", 2), ("mid", 4), ("a", 32), ("b", 32))]
    assert columns(one(tmp_path, tested)) == ["a", "b", "mid", "low"]
    assert columns(one(tmp_path, tested, reference="mid")) == ["mid", "a", "b", "low"]
    assert columns(one(tmp_path, tested[:2])) == ["low", "mid"]


def test_models_of_one_name_are_told_apart(tmp_path):
    tested = [cell(model("m", 32, "abcdef99"), CLEAN, 1), cell(model("m", 32, "123456ff"), CLEAN, 2)]
    tested += [cell(model("m", 4, "654321ff"), CLEAN, 3)]
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
