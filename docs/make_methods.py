"""Makes `methods.md` from the code: every name, the first line of its docstring, and the papers named beside it.

    python docs/make_methods.py

A test compares the page with what this makes, so that neither can change alone.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bitproof.catalogue import FAMILIES, Family, unwrapped
from bitproof.metrics import Metric

PAGE = Path(__file__).with_name("methods.md")
SOURCES = Path(__file__).parents[1] / "src" / "bitproof"

_AUTHOR = r"[A-Z][a-z]+(?:-[A-Z][a-z]+)?"
_NUMBER = r"(?:,? \(?(?:arXiv[: ]|https://arxiv\.org/abs/)?(?P<arxiv>\d{4}\.\d{4,5}))?"
_PAPER = re.compile(rf"(?<!\w)(?P<paper>{_AUTHOR}(?:, {_AUTHOR})*(?: & {_AUTHOR}| et al\.)? (?:19|20)\d\d){_NUMBER}")
_ONLY_NUMBER = re.compile(r"arXiv[: ](\d{4}\.\d{4,5})")

HEAD = """# All methods and their papers

Made from the code by `python docs/make_methods.py`: the name on the command line, what it is, and the papers that its
docstring or the head of its file names, which say more: which equations, and what is done otherwise.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(section(family) for family in FAMILIES.values() if family.table)])


def section(family: Family) -> str:
    """A family as a table; neighbours that share their text share a row."""
    known = arxiv_numbers()
    rows: dict[tuple[str, str], list[str]] = {}
    for name, entry in family.table.items():
        rows.setdefault((family.line(entry).replace("|", "\\|"), sources(name, entry, known)), []).append(f"`{name}`")
    lines = [f"| {', '.join(names)} | {text} | {source} |" for (text, source), names in rows.items()]
    head = f"## {family.title}\n\n{family.usage}\n\n| name | what it is | source |\n|---|---|---|"
    return "\n".join([head, *lines, ""])


def sources(name: str, entry: Any, known: Mapping[str, str]) -> str:
    """The papers of a method, or where a metric says that it is defined."""
    if isinstance(entry, Metric):
        return _PAPER.sub(lambda found: linked([cited(found)], known), entry.source)
    return linked(papers(name, unwrapped(entry)), known)


def papers(name: str, made: Any) -> list[tuple[str, str | None]]:
    """The papers of a method as (authors and year, arXiv number), from the nearest text that names any.

    In this order: the module's sentence that names the method right before the paper, the first paragraph of the
    method's docstring, the module's "Source:" and its first paragraph, the rest of both, the package's first paragraph.
    """
    module = sys.modules[made.__module__]
    own, around = flat(made.__doc__), flat(module.__doc__)
    package = flat(sys.modules[made.__module__.rpartition(".")[0]].__doc__)
    named = re.search(rf"(?<![\w+-])(?i:{re.escape(name)}),? \(?{_PAPER.pattern}", around)
    if named:
        return [cited(named)]
    source = re.search(r"\bSources?: (.+?)(?:(?<!al)\.(?= [A-Z]|\n|$))", around)
    texts = (paragraph(own), source[1] if source else "", paragraph(around), own, around, paragraph(package))
    for text in texts:
        if found := [cited(match) for match in _PAPER.finditer(text)]:
            return list(dict.fromkeys(found))
    numbers = _ONLY_NUMBER.findall(around)
    return [(f"arXiv {numbers[0]}", numbers[0])] if numbers else []


def cited(found: re.Match[str]) -> tuple[str, str | None]:
    return found["paper"], found["arxiv"]


def arxiv_numbers() -> dict[str, str]:
    """The arXiv number of each paper that has one and the same wherever the sources give one."""
    numbers: dict[str, set[str]] = {}
    for paper, number in everywhere():
        numbers.setdefault(paper, set()).add(number)
    return {paper: min(found) for paper, found in numbers.items() if len(found) == 1}


def everywhere() -> Iterator[tuple[str, str]]:
    for file in sorted(SOURCES.rglob("*.py")):
        for found in _PAPER.finditer(flat(file.read_text())):
            if found["arxiv"]:
                yield found["paper"], found["arxiv"]


def linked(found: list[tuple[str, str | None]], known: Mapping[str, str]) -> str:
    """The papers as text, with a link where a number is known."""
    texts = []
    for paper, own in found:
        number = own or known.get(paper)
        texts.append(f"[{paper}](https://arxiv.org/abs/{number})" if number else paper)
    return "; ".join(texts)


def flat(text: str | None) -> str:
    """The text with each paragraph on one line."""
    return "\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text or ""))


def paragraph(text: str) -> str:
    return text.split("\n")[0]


def main() -> None:
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
