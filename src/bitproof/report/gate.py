"""Rulings on requirements: of all results in a store, as JUnit XML and as a Markdown table."""

from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree

from bitproof.errors import InputError
from bitproof.metrics.requirements import FAILED, PASSED, UNDECIDED, Requirement, Ruling, judge
from bitproof.records import Cell, name_conditions


def rulings(
    cells: Sequence[Cell], asked: Sequence[Requirement], *, reference: str | None = None, models: Sequence[str] = ()
) -> list[Ruling]:
    """How the models of a store stand to requirements, on each data set and seed by itself.

    Args:
        cells: everything that was tested.
        asked: the requirements.
        reference: the model that "float" stands for; None = the first float one, or else the first.
        models: those to judge; none = all but the reference.

    Raises:
        InputError: no results, or a requirement or a name that does not fit them.
    """
    parts: dict[tuple[str, int], list[Cell]] = {}
    for tested in cells:
        parts.setdefault((tested.data.fingerprint, tested.seed), []).append(tested)
    if not parts:
        raise InputError(
            "the store holds no results", rule="what was tested is judged", remedy="Run bitproof evaluate --store first"
        )
    found: list[Ruling] = []
    for (_, seed), part in parts.items():
        about = part[0].data
        where = f"{about.name} {about.split} with seed {seed}" if len(parts) > 1 else ""
        floats = [tested.model.name for tested in part if tested.model.is_float]
        base = reference or next(iter([*floats, part[0].model.name]))
        for requirement in asked:
            found += [replace(r, where=where) for r in judge(requirement, name_conditions(part), base, models)]
    return found


def overall(found: Sequence[Ruling]) -> str:
    """Failed if one is, else undecided if one is, else passed."""
    verdicts = {ruling.verdict for ruling in found}
    return next(verdict for verdict in (FAILED, UNDECIDED, PASSED) if verdict in verdicts)


def junit(found: Sequence[Ruling]) -> str:
    """A JUnit file: a test case a requirement and model; what is undecided is skipped, with the reason."""
    counts = {verdict: sum(ruling.verdict == verdict for ruling in found) for verdict in (FAILED, UNDECIDED)}
    suite = ElementTree.Element(
        "testsuite",
        name="bitproof check",
        tests=str(len(found)),
        failures=str(counts[FAILED]),
        skipped=str(counts[UNDECIDED]),
    )
    for ruling in found:
        case = ElementTree.SubElement(suite, "testcase", classname=ruling.model, name=ruling.requirement.text)
        if ruling.verdict != PASSED:
            kind = "failure" if ruling.verdict == FAILED else "skipped"
            ElementTree.SubElement(case, kind, message=printable(ruling.sentence))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def markdown(found: Sequence[Ruling]) -> str:
    """A Markdown table, a row a requirement and model."""
    rows = ["| verdict | requirement | |", "|---|---|---|"]
    rows += [f"| {ruling.verdict} | `{cell(ruling.requirement.text)}` | {cell(ruling.sentence)} |" for ruling in found]
    return "\n".join(rows) + "\n"


def printable(text: str) -> str:
    """Text without letters that files for other programs may not hold."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def cell(text: str) -> str:
    """Text in a table of Markdown."""
    return printable(text).replace("|", "\\|").replace("<", "&lt;")
