"""The file: self-contained, harmless, whole or not there."""

import re
import resource
import subprocess
import sys
from dataclasses import replace

import pytest

from bitproof import metrics
from bitproof.errors import InputError
from bitproof.report import write_report
from bitproof.store import Store
from report_cells import CLEAN, DATA, attack, cell, jpeg, model
from report_page import Element, body, columns, one, parse

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}$\\frac$\ud800"


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
