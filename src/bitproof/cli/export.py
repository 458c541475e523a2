"""`bitproof export`."""

from pathlib import Path
from typing import Annotated

import typer

import bitproof
from bitproof.cli.checks import check_output
from bitproof.cli.common import tell_damaged
from bitproof.cli.options import OUTPUT


def export(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The store to read; a run may be writing it.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File to write: .parquet, .csv or .json.", rich_help_panel=OUTPUT)
    ],
) -> None:
    """Write every example's prediction, one row an example, model and condition; as .json all other records."""
    from bitproof.export import export_store

    check_output(output, "the export", store)
    with bitproof.Store(store, readonly=True) as opened:
        count = export_store(opened, output)
        tell_damaged(opened)
    print(f"{output}: {count:,} {'records' if output.suffix == '.json' else 'rows'}")
