"""`bitproof check`."""

from pathlib import Path
from typing import Annotated

import typer

import bitproof
from bitproof.cli.checks import check_output
from bitproof.cli.common import tell_damaged
from bitproof.cli.options import METHOD, MODEL, OUTPUT
from bitproof.errors import InputError, lookup
from bitproof.files import written

CODES = {"passed": 0, "failed": 1, "undecided": 3}
"""What the command exits with; 2 is an error."""


def check(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The store to judge.")],
    require: Annotated[
        list[str] | None,
        typer.Option(
            help='What has to hold, e.g. "acc >= 0.99 * float" or "ar(pgd,1/255) >= 0.4".', rich_help_panel=METHOD
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Requirements by name: mlperf is 99% of float's accuracy.", rich_help_panel=METHOD),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Judge this model.", show_default="all but the reference", rich_help_panel=MODEL),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="What `float` stands for.", show_default="the float one", rich_help_panel=MODEL)
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write the rulings as JUnit XML here.", rich_help_panel=OUTPUT)
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write them as a Markdown table here.", rich_help_panel=OUTPUT)
    ] = None,
) -> None:
    """Judge stored results by requirements: exit code 0 if all hold, 1 if one fails, 3 if one is undecided, 2 for
    errors."""
    from bitproof.metrics.requirements import PRESETS, Requirement
    from bitproof.report import gate

    texts = [*(require or []), *(lookup(PRESETS, preset, "preset") if preset is not None else ())]
    if not texts:
        raise InputError(
            "nothing is required",
            rule="results are judged by requirements",
            remedy='Add --require "acc >= 0.99 * float"',
        )
    asked = [Requirement.parse(text) for text in texts]
    check_output(junit, "the JUnit file", store)
    check_output(markdown, "the Markdown file", store)
    with bitproof.Store(store, readonly=True) as opened:
        rulings = gate.rulings(opened.query(), asked, reference=reference, models=model or ())
        tell_damaged(opened)
    for ruling in rulings:
        print(f"{ruling.verdict}: {ruling.requirement.text}: {ruling.sentence}")
    for path, what, make in ((junit, "the JUnit file", gate.junit), (markdown, "the Markdown file", gate.markdown)):
        if path is not None:
            with written(path, what) as draft:
                draft.write_text(make(rulings), encoding="utf-8")
    raise typer.Exit(CODES[gate.overall(rulings)])
