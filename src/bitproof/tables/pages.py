"""All outcomes of a folder as one page, in Markdown and in HTML."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bitproof.files import written
from bitproof.report.text import MISSING
from bitproof.tables.catalogue import TABLES
from bitproof.tables.claims import Judged
from bitproof.tables.outcome import Entry, Outcome, read_outcome
from bitproof.tables.table import SCALES
from bitproof.tables.verdicts import UNPRINTED

HEAD = """# Tables of the papers, reproduced

Made by `bitproof reproduce`, from what it measured on the machine and at the scale that are named. Two questions are
kept apart: whether a *number* agrees with the printed one, which asks for the paper's own data, networks and training;
and whether a *conclusion* holds, which is tested on our numbers, pair by pair on the same images (sign flips, corrected
by Holm). See [Reproduce a table](reproduce.md).
"""


def gathered(folder: Path) -> list[Outcome]:
    """The outcomes in a folder, in the order of the papers' tables and of the scales.

    Raises:
        InputError: a file that is none.
    """
    places = {(table.paper, table.number): place for place, table in enumerate(TABLES)}
    found = [read_outcome(path) for path in sorted(folder.glob("*.json"))]
    order = list(SCALES)
    return sorted(found, key=lambda o: (places.get((o.paper, o.number), len(places)), o.setting, -order.index(o.scale)))


def write_pages(folder: Path) -> tuple[Path, Path]:
    """Write `FOLDER.md` and `FOLDER/index.html` of all outcomes in a folder; returns both.

    Raises:
        InputError: a file in it that is no outcome, or a page that cannot be written.
    """
    outcomes = gathered(folder)
    pages = folder.with_name(f"{folder.name}.md"), folder / "index.html"
    with written(pages[0], "the page of reproduced tables") as draft:
        draft.write_text(markdown(outcomes), encoding="utf-8")
    with written(pages[1], "the page of reproduced tables") as draft:
        draft.write_text(html(outcomes), encoding="utf-8")
    return pages


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The page: what was run and what came of it, and each outcome."""
    lines = [HEAD, "| table | setting | scale | data | numbers | conclusions |", "|---|---|---|---|---|---|"]
    lines += [
        f"| [{o.paper} {o.number}](#{anchor(o)}) | {o.setting} | {o.scale} | {o.data} | {tally(o)} | {o.conclusion} |"
        for o in outcomes
    ]
    return "\n".join([*lines, "", *(section(o) for o in outcomes)])


def section(outcome: Outcome) -> str:
    """One outcome in Markdown."""
    lines = [
        f"## {heading(outcome)}",
        "",
        f"{outcome.title}. {outcome.citation}.",
        "",
        about(outcome),
        "",
        *(f"- **{claim.verdict}**: {claim.text} ({claim.source}); {claim.reason}." for claim in outcome.claims),
        *([""] if outcome.claims else []),
        "| row | column | ours | 95% interval | n | printed | difference | verdict |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    lines += [f"| {' | '.join(line)} |" for line in table(outcome)]
    return "\n".join([*lines, ""])


def heading(outcome: Outcome) -> str:
    """Paper, table and scale."""
    return " ".join(filter(None, (outcome.paper, outcome.number, outcome.setting, f"({outcome.scale})")))


def anchor(outcome: Outcome) -> str:
    """What GitHub makes of the heading."""
    kept = "".join(c for c in heading(outcome).lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def about(outcome: Outcome) -> str:
    """What it was run on, in a few sentences."""
    commit = str(outcome.environment.get("commit") or "")[:10]
    parts = [
        f"Run on {outcome.data}, network {outcome.network}, trained on {outcome.training}; "
        f"{outcome.passes:,} passes of testing; {outcome.written[:10]}" + (f", commit {commit}" if commit else "") + "."
    ]
    if outcome.differs:
        parts.append(f"Not the paper's experiment: {', '.join(outcome.differs)}.")
    if outcome.diverged:
        parts.append("Did not converge: " + ", ".join(f"{k} (epoch {v})" for k, v in outcome.diverged.items()) + ".")
    if _unprinted(outcome):
        parts.append("The paper prints no numbers here, so none is comparable.")
    if outcome.unmeasured:
        parts.append(f"{outcome.unmeasured} printed numbers have none of ours beside them.")
    return " ".join(parts)


def tally(outcome: Outcome) -> str:
    """How many numbers have which verdict."""
    words = [entry.verdict for entry in outcome.entries]
    return ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(sorted(words)))


def table(outcome: Outcome) -> list[list[str]]:
    """The parts of each line; a reason that holds for the whole experiment is given once, by `about`."""
    said = UNPRINTED if _unprinted(outcome) else ", ".join(outcome.differs)
    return [_cells(entry, said) for entry in outcome.entries]


def _unprinted(outcome: Outcome) -> bool:
    """Whether none of its numbers is in the paper, as of a figure that is drawn only."""
    return {entry.reason for entry in outcome.entries} == {UNPRINTED}


def _cells(entry: Entry, said: str) -> list[str]:
    digits = 2 if entry.unit == "percent" else 3
    interval = (
        MISSING if entry.low is None or entry.high is None else f"{entry.low:.{digits}f} to {entry.high:.{digits}f}"
    )
    return [
        entry.row,
        entry.column,
        MISSING if entry.value is None else f"{entry.value:.{digits}f}",
        interval,
        f"{entry.n:,}",
        entry.printed or MISSING,
        MISSING if entry.difference is None else f"{entry.difference:+.{digits}f}".replace("-", "\N{MINUS SIGN}"),
        entry.verdict + (f": {entry.reason}" if entry.reason not in ("", said) else ""),
    ]


def html(outcomes: Iterable[Outcome]) -> str:
    """The page for a browser, with a picture of each outcome; it loads nothing from elsewhere."""
    import jinja2

    from bitproof.tables.drawing import embedded

    world = jinja2.Environment(
        loader=jinja2.PackageLoader("bitproof.tables", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    shown: list[dict[str, Any]] = [
        {
            "outcome": outcome,
            "heading": heading(outcome),
            "anchor": anchor(outcome),
            "about": about(outcome),
            "tally": tally(outcome),
            "lines": table(outcome),
            "picture": embedded(outcome),
        }
        for outcome in outcomes
    ]
    return world.get_template("page.html.j2").render(outcomes=shown, classes=_CLASSES)


_CLASSES = {"consistent": "good", "holds": "good", "different": "bad", "does not hold": "bad"}
"""How words are coloured; the words themselves say it."""


def summary(claim: Judged) -> str:
    """A conclusion in a line."""
    return f"{claim.verdict}: {claim.text} ({claim.source}); {claim.reason}"
