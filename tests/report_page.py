"""A report's page that can be asked for its tables and pictures, and what a terminal shows."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest
from rich.console import Console
from rich.table import Table

from bitproof.records import Cell
from bitproof.report import write_report
from report_cells import grid

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
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


def one(tmp_path, cells, **options) -> Element:
    return parse(write_report(cells, tmp_path / "r.html", **options))


def printed(tables: list[Table]) -> str:
    """What a wide terminal shows."""
    console = Console(record=True, width=200, file=io.StringIO())
    for table in tables:
        console.print(table)
    return console.export_text()


def exhibits(page: Element) -> dict[str, list[Element]]:
    return {e.all("h4")[0].text: e.all("article", "example") for e in page.all("section", "exhibit")}


def columns(page: Element) -> list[str]:
    return [" ".join(th.text.split()[1:-1]) for th in page.all("table", "matrix")[0].all("thead")[0].all("th")[1:]]


@pytest.fixture(scope="session")
def cells() -> list[Cell]:
    return grid()


@pytest.fixture(scope="session")
def page(cells, tmp_path_factory) -> Element:
    environment = {
        "commit": "abc123",
        "dirty": True,
        "packages": {"torch": "9.9"},
        "gpu": None,
        "command": ["a b", "c"],
    }
    return parse(write_report(cells, tmp_path_factory.mktemp("report") / "r.html", environments=[environment]))
