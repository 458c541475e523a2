"""Puts the page together and on the disk."""

import os
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bitproof import metrics
from bitproof.diagnosis import Diagnosis
from bitproof.errors import InputError
from bitproof.records import SCHEMA, Cell
from bitproof.report import findings, gallery, plots, text
from bitproof.report.masking import masking
from bitproof.report.sections import Section, sections


def write_report(
    cells: Sequence[Cell],
    path: str | Path = "report.html",
    *,
    reference: str | None = None,
    environments: Sequence[Mapping[str, Any]] = (),
    diagnoses: Sequence[Diagnosis] = (),
    title: str = "bitproof report",
) -> Path:
    """Write everything that follows from the cells into one HTML file that loads nothing from elsewhere.

    Equal cells give equal bytes. A report that is there already is replaced only by a complete one.

    Args:
        cells: of any number of models, conditions, data sets and seeds; each data set and seed gets a section.
        path: the file.
        reference: name of the model that the others are compared with; None = the first of 32/32 bits, or
            else the first one.
        environments: what the cells were computed on, see `Store.environments`.
        diagnoses: of masked gradients; each is shown with the cells of its model, data and seed.
        title: of the page.

    Returns:
        The path.

    Raises:
        InputError: no cells, an unknown reference, or a file that cannot be written.
    """
    path = Path(path)
    html = _render(sections(cells, reference), title, environments, diagnoses)
    # Beside the report, because only within one file system replacing a file is atomic.
    draft = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        try:
            draft.write_text(html, encoding="utf-8", errors="replace")  # a command line may hold any bytes
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write {str(path)!r} ({error.strerror or error})",
            rule="the report is one file in an existing folder",
            remedy="Choose a writable path on a disk with room",
        ) from error
    return path


def _render(
    parts: list[Section], title: str, environments: Sequence[Mapping[str, Any]], diagnoses: Sequence[Diagnosis]
) -> str:
    import jinja2

    world = jinja2.Environment(
        loader=jinja2.PackageLoader("bitproof.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    world.filters |= {
        name: getattr(text, name) for name in ("percent", "points", "interval", "distance", "p_value", "same_pixels")
    }
    return world.get_template("page.html.j2").render(
        title=title,
        sections=[_context(section, f"s{i}", diagnoses) for i, section in enumerate(parts, 1)],
        environments=[{key: _plain(value) for key, value in e.items()} for e in environments],
        metrics=metrics.METRICS.values(),
        version=version("bitproof"),
        schema=SCHEMA,
        level=findings.SIGNIFICANT,
        bits=text.bits,
    )


def _context(section: Section, anchor: str, diagnoses: Sequence[Diagnosis]) -> dict[str, Any]:
    looks = {
        model.name: {"colour": f"m{i % plots.COLOURS}", "marker": plots.MARKERS[i % len(plots.MARKERS)][1]}
        for i, model in enumerate(section.models)
    }
    return {
        "id": anchor,
        "section": section,
        "looks": looks,
        "remarks": text.remarks(section.cells.values()),
        "findings": findings.findings(section),
        "matrix": findings.matrix(section),
        "same_pixels": metrics.same_pixels(list(section.cells.values())),
        "panels": plots.panels(section, anchor),
        "metrics": _metric_table(section),
        "distances": metrics.distances(list(section.cells.values())),
        "masking": masking(section, diagnoses),
        "exhibits": gallery.exhibits(section),
        "shown": [model.name for model in gallery.shown_models(section)],
        "costs": _costs(section),
    }


def _metric_table(section: Section) -> list[dict[str, Any]]:
    """The summary turned: one line a metric and condition, one entry a model."""
    attacks = [c.label for group in section.groups if group.kind == "attack" for c in group.conditions]
    union = f"over {len(attacks)} attack{'s' * (len(attacks) > 1)}"
    values = {(row["metric"], row["condition"], row["model"]): row for row in section.summary}
    return [
        {
            "metric": metric,
            "condition": union if metric is metrics.WCAR else condition,
            "rows": rows,
        }
        for metric in metrics.METRICS.values()
        for condition in (attacks if metric.each else [""])
        if any(rows := [values.get((metric.name, condition, model.name)) for model in section.models])
    ]


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
