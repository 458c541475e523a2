"""Puts the page together and on the disk."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitproof.files import written
from bitproof.metrics import METRICS
from bitproof.records import SCHEMA, Record
from bitproof.report import text
from bitproof.report.panels import PANELS
from bitproof.report.rows import SIGNIFICANT
from bitproof.report.sections import Section, sections
from bitproof.report.verdicts import basis, notes

if TYPE_CHECKING:
    import jinja2

_HOME = "bitproof.report"


def write_report(
    found: Sequence[Record],
    path: str | Path = "report.html",
    *,
    reference: str | None = None,
    environments: Sequence[Mapping[str, Any]] = (),
    title: str = "bitproof report",
) -> Path:
    """Write everything that follows from the records into one HTML file that loads nothing from elsewhere.

    Equal records give equal bytes. A report that is there already is replaced only by a complete one.

    Args:
        found: records of any kinds, models, conditions, data sets and seeds; each data set and seed gets a section.
        path: the file.
        reference: name of the model that the others are compared with; None = the first of 32/32 bits, or
            else the first one.
        environments: what the records were computed on, see `Store.environments`.
        title: of the page.

    Returns:
        The path.

    Raises:
        InputError: no records, an unknown reference, or a file that cannot be written.
    """
    html = _render(sections(found, reference), title, environments)
    with written(path, "the report") as draft:
        draft.write_text(html, encoding="utf-8", errors="replace")  # a command line may hold any bytes
    return Path(path)


def world(*further: str) -> "jinja2.Environment":
    """The templates of pages and panels, with what they write numbers by.

    Args:
        further: packages whose folder `templates` is looked into first.
    """
    import jinja2

    places = [*((package, "templates") for package in further), (_HOME, "templates"), (_HOME, "panels")]
    found = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package, folder) for package, folder in places]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    filters = ("percent", "points", "interval", "distance", "p_value", "same_pixels", "remarks")
    filters += ("value", "difference", "change")
    found.filters |= {name: getattr(text, name) for name in filters} | {"costs": _costs}
    found.globals |= {"bits": text.bits, "level": SIGNIFICANT}
    found.filters |= {"basis": basis, "notes": notes}
    return found


def _render(parts: list[Section], title: str, environments: Sequence[Mapping[str, Any]]) -> str:
    panels = [[(panel, shown) for panel in PANELS if (shown := panel.shows(section))] for section in parts]
    return (
        world()
        .get_template("page.html.j2")
        .render(
            title=title,
            sections=list(zip(parts, panels, strict=True)),
            environments=[{key: text.plain(value) for key, value in e.items()} for e in environments],
            metrics=METRICS.values(),
            version=version("bitproof"),
            schema=SCHEMA,
        )
    )


def _costs(section: Section) -> list[dict[str, Any]]:
    """What each model's cells cost together."""
    costs: list[dict[str, Any]] = []
    for model in section.models:
        own = [cell for (name, _), cell in section.cells.items() if name == model.name]
        costs.append(
            {"model": model, "cells": len(own)}
            | {key: sum(getattr(cell, key) for cell in own) for key in ("forwards", "backwards", "seconds")}
        )
    return costs
