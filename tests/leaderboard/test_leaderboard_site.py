"""The site in a real browser: sorting, filtering, links, nothing asked of anybody; and what it is without one."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from test_submission import EVIL

import bitproof as bp
from bitproof.errors import InputError
from bitproof.leaderboard import submit, write_leaderboard
from report_cells import CLEAN, DATA, attack, cell, jpeg, model, transfer
from report_page import MINUS, parse

WRONG = {"float": (0, 4, 8), "w8a8": (1, 6, 9), "w2a2": (6, 30, 36)}


def net(name, width):
    return replace(model(name, width), architecture="net", bytes=1000 * width)


def fill(path, names=WRONG):
    with bp.Store(path) as store:
        run = store.begin_run({"commit": "0123456789", "dirty": True, "command": ["bitproof", "evaluate", "a b"]})
        for name, wrong in names.items():
            tried = net(name, {"float": 32, "w8a8": 8}.get(name, 2))
            for condition, count in zip((CLEAN, attack(8), jpeg(1)), wrong, strict=True):
                store.append(cell(tried, condition, count), run)
            for source in names:
                given = replace(transfer(source), how={"source": f"print of {source}"})
                store.append(cell(tried, given, 5), run)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    store = fill(folder / "runs.db")
    submit(store, folder / "me.json", by="Ada & Co", link="https://example.org/net?a=b&c")
    said = json.loads((folder / "me.json").read_text())
    for entry in said["entries"]:  # which another run gave, too
        entry["date"] = "2026-11-01T10:00:00+00:00"
    (folder / "me.json").write_text(json.dumps(said))
    write_leaderboard([store, folder / "me.json"], folder / "site", title="Nets")
    return folder / "site"


@pytest.fixture
def page(browser, site):
    """The board in the browser, from the disk."""
    browser.open((site / "index.html").as_uri())
    return browser


def seen(page) -> list[str]:
    """Models by row, of those rows that are shown."""
    return page.run(
        "[...document.querySelectorAll('#board tbody:not([hidden]) tr[data-line]:not([hidden]) th')]"
        ".map((cell) => cell.textContent)"
    )


def pick(page, name, value):
    page.run(
        f"(() => {{ const f = document.querySelector('[name={name}]'); f.value = {json.dumps(value)};"
        "f.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )


def click(page, text):
    page.run(f"[...document.querySelectorAll('button')].find((b) => b.textContent === {json.dumps(text)}).click()")


def test_nothing_is_asked_and_nothing_complains(browser, site):
    for file in [site / "index.html", *(site / "models").iterdir()]:
        browser.open(file.as_uri())
        assert browser.requests and not browser.complaints, file
        assert all(address.startswith(("file:", "data:")) for address in browser.requests)
    assert "refused" in browser.run("fetch('https://example.org').then(() => 'let through', () => 'refused')")
    assert browser.complaints, "the policy says so"


def test_sorting(page):
    names = ["net float", "net w8a8", "net w2a2"]
    assert seen(page) == names * 3
    click(page, "Size kB")
    assert seen(page) == names * 3 and "sort=Size+kB&down=1" in page.run("location.hash")
    click(page, "Size kB")
    assert seen(page) == names[::-1] * 3
    sorts = page.run("[...document.querySelectorAll('#board thead th')].map((th) => th.getAttribute('aria-sort'))")
    assert sorts[6] == "ascending" and sorts.count("none") == 13
    click(page, "Against float, points")
    assert seen(page)[:3] == ["net w8a8", "net w2a2", "net float"], "what is missing goes last"
    click(page, "Show all")
    page.run("new Promise((done) => setTimeout(done, 30))")
    assert seen(page) == names * 3 and not page.run("location.hash").strip("#")


def test_filters_and_the_link_of_a_view(page, site):
    pick(page, "threat", "linf 8/255")
    pick(page, "bits", "2/2")
    assert seen(page) == ["net w2a2"] and page.run("document.querySelector('output').textContent") == "1 of 9 rows"
    assert page.run("document.querySelectorAll('.drawn:not([hidden])').length") == 1
    where = page.run("location.hash")
    assert where == "#threat=linf+8%2F255&bits=2%2F2"
    page.open(f"{(site / 'index.html').as_uri()}{where}&q=nothing%20such")
    assert seen(page) == []
    page.open(f"{(site / 'index.html').as_uri()}{where}")
    assert seen(page) == ["net w2a2"] and page.run("document.querySelector('[name=bits]').value") == "2/2"
    page.run("location.hash = '#reading'")
    assert seen(page) == ["net w2a2"], "an anchor is no filter"
    pick(page, "bits", "")
    pick(page, "q", "W8A8 ○")
    assert seen(page) == []
    pick(page, "q", "w8a8 ✓")
    assert seen(page) == ["net w8a8"]


def test_links_lead_to_pages(page):
    for _ in range(2):
        page.follow("document.querySelector('#board th a').click()")
        assert page.run("document.querySelector('h1').textContent").startswith("net float")
        page.follow("document.querySelector('main a').click()")
        assert seen(page) == ["net float", "net w8a8", "net w2a2"], "the ranking that was come from"


def test_what_is_copied_is_what_is_shown(page):
    pick(page, "architecture", "net")
    pick(page, "bits", "8/8")
    click(page, "Size kB")
    said = list(csv.DictReader(io.StringIO(page.run("offers.csv()"))))
    assert [row["model"] for row in said] == ["net w8a8"] * 3
    assert [float(row["accuracy"]) for row in said] == pytest.approx([34 / 40, 31 / 40, 39 / 40])


def test_a_phone_scrolls_the_table_and_not_the_page(page, tmp_path):
    page.picture(tmp_path / "x.png", width=390, height=800, dark=True)
    assert page.run("document.documentElement.scrollWidth") == 390
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 28)"
    page.picture(tmp_path / "x.png")


def test_it_reads_without_scripts(site):
    index = parse(site / "index.html")
    (board,) = index.all("table", "board")
    assert board.all("caption") and [len(body.all("tr")) for body in board.all("tbody")] == [4, 4, 4]
    row = board.all("tr")[3]
    cells = [cell.text for cell in row.children if not isinstance(cell, str)]
    assert cells[:4] == ["net w8a8", "1 to 2", "85.0 70.9 to 92.9", f"{MINUS}5.0 {MINUS}14.0 to +4.5"]
    assert cells[4:8] == ["90.0 76.9 to 96.0", "97.5 87.1 to 99.6", "8.0", "8/8"]
    assert cells[-4:] == ["not looked at", "✓ reproduced", cells[-2], "0123456 changed"]
    assert "▼" in board.all("tr")[4].text
    assert len(index.all("svg")) == 5, "by size and by clean accuracy, and clean images by size"
    pages = [parse(file).text for file in (site / "models").iterdir()]
    assert len(pages) == 3 and all(
        "submitted by Ada & Co" in text and "bitproof evaluate 'a b'" in text for text in pages
    )
    assert all("Made on" in text and "What the models saw" in text for text in pages)
    assert len(json.loads((site / "board.json").read_text())) == 9


def test_equal_sources_give_equal_bytes(site, tmp_path):
    write_leaderboard([site.parent / "runs.db", site.parent / "me.json"], tmp_path / "s", title="Nets")
    for file in site.rglob("*.*"):
        alike = file.read_bytes() == (tmp_path / "s" / file.relative_to(site)).read_bytes()
        assert alike, file  # without pytest's comparison of two long texts, which takes minutes


def test_hostile_names_are_only_text(tmp_path, browser):
    data = replace(DATA, name=EVIL, classes=(EVIL,) * 10)
    hostile = replace(net("float", 32), name=EVIL, architecture=EVIL, tags={EVIL: "=1+1"})
    with bp.Store(tmp_path / "e.db") as store:
        run = store.begin_run({"commit": EVIL, "command": [EVIL]})
        for condition in (CLEAN, replace(attack(8), label=EVIL, group=EVIL, variant=EVIL)):
            store.append(cell(hostile, condition, data=data), run)
    write_leaderboard([tmp_path / "e.db"], tmp_path / "s", title=EVIL)
    for file in [tmp_path / "s" / "index.html", *(tmp_path / "s" / "models").iterdir()]:
        browser.open(file.as_uri())
        assert browser.run("document.querySelectorAll('img[src=x]').length + document.scripts.length") == 1
        assert not browser.complaints and EVIL in browser.run("document.body.textContent")
    assert "'=" not in (tmp_path / "s" / "board.csv").read_text()


def test_what_was_there_before(tmp_path):
    store = fill(tmp_path / "a.db", {"float": (0, 1, 2), "w2a2": (1, 2, 3)})
    folder = tmp_path / "site"
    write_leaderboard([store], folder)
    (folder / "models" / "mine.html").write_text("mine")
    write_leaderboard([fill(tmp_path / "b.db", {"float": (0, 1, 2)})], folder)
    assert len(list((folder / "models").iterdir())) == 2, "the page of a model that is gone, but not another file"
    (folder / "index.html").write_text("my own page")
    with pytest.raises(InputError, match=r"no leaderboard.*folder of its own"):
        write_leaderboard([store], folder)
    with bp.Store() as empty, pytest.raises(InputError, match=r"no results to rank.*bitproof evaluate"):
        write_leaderboard([empty], tmp_path / "other")
    with pytest.raises(InputError, match="folder"):
        write_leaderboard([store], store / "inside")
    assert (folder / "index.html").read_text() == "my own page"
