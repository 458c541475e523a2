"""`bitproof merge` and `bitproof diff`."""

from pathlib import Path
from typing import Annotated

import typer

import bitproof
from bitproof.cli.checks import check_output
from bitproof.cli.options import METHOD, OUTPUT


def merge(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="Stores to put together.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The new store.", rich_help_panel=OUTPUT)],
    keep_first: Annotated[
        bool,
        typer.Option("--keep-first", help="Where two differ, keep the first store's result.", rich_help_panel=METHOD),
    ] = False,
) -> None:
    """Put the results of several stores into a new one."""
    check_output(output, "a store", *stores)
    merged = bitproof.experiment.merge(stores, output, keep_first=keep_first)
    for conflict in merged.conflicts:
        print(f"kept the first of two: {conflict}")
    print(f"{output}: {merged.copied:,} results, {merged.same:,} of them held alike by several stores")


def diff(
    one: Annotated[Path, typer.Argument(metavar="STORE", help="A store.")],
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="Another one, such as of another machine.")],
) -> None:
    """On how many examples two stores differ, result by result."""
    compared = bitproof.experiment.compare_stores(one, other)
    for different in compared.differences:
        print(different)
    print(
        f"{compared.shared:,} results in both, {compared.equal:,} of them equal; "
        f"{compared.only[0]:,} in {one} alone, {compared.only[1]:,} in {other} alone"
    )
