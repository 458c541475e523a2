"""`bitproof report`."""

from pathlib import Path
from typing import Annotated

import typer

import bitproof
from bitproof.cli.checks import check_output
from bitproof.cli.common import tell_damaged
from bitproof.cli.options import MODEL, OUTPUT, MetricOption


def report(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The store to read; a run may be writing it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file to write.", rich_help_panel=OUTPUT)] = Path(
        "report.html"
    ),
    metric: MetricOption = None,
    reference: Annotated[
        str | None, typer.Option(help="The model to compare with.", show_default="the float one", rich_help_panel=MODEL)
    ] = None,
) -> None:
    """Write the HTML report of everything in a store."""
    check_output(output, "the report", store)
    for text in metric or []:
        bitproof.metrics.add_metric(text)
    with bitproof.Store(store, readonly=True) as opened:
        found = opened.query(None)
        environments = list(opened.environments().values())
        path = bitproof.write_report(found, output, reference=reference, environments=environments)
        tell_damaged(opened)
    print(f"report: {path}")
