"""Puts the page together and on the disk."""

import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bitproof.files import written
from bitproof.metrics import METRICS
from bitproof.records import SCHEMA, Record
from bitproof.report import text
from bitproof.report.panels import PANELS
from bitproof.report.rows import SIGNIFICANT
from bitproof.report.sections import Section, sections
from bitproof.report.verdicts import basis


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


def _render(parts: list[Section], title: str, environments: Sequence[Mapping[str, Any]]) -> str:
    import jinja2

    world = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader("bitproof.report", name) for name in ("templates", "panels")]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    filters = ("percent", "points", "interval", "distance", "p_value", "same_pixels", "remarks", "change")
    world.filters |= {name: getattr(text, name) for name in filters} | {"costs": _costs}
    world.globals |= {"bits": text.bits, "level": SIGNIFICANT}
    world.filters["basis"] = basis
    panels = [[(panel, shown) for panel in PANELS if (shown := panel.shows(section))] for section in parts]
    return world.get_template("page.html.j2").render(
        title=title,
        sections=list(zip(parts, panels, strict=True)),
        environments=[{key: _plain(value) for key, value in e.items()} for e in environments],
        metrics=METRICS.values(),
        version=version("bitproof"),
        schema=SCHEMA,
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


def _plain(value: Any) -> str:
    """An entry of an environment for people."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items())
        case list():
            return shlex.join(map(str, value))
    return str(value)
