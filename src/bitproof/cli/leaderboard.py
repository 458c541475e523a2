"""`bitproof leaderboard` and `bitproof submit`."""

from pathlib import Path
from typing import Annotated

import typer

import bitproof
from bitproof.cli.checks import check_output
from bitproof.cli.options import METHOD, OUTPUT


def leaderboard(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="Stores, and submissions of others (.json).")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the site.", rich_help_panel=OUTPUT)] = Path(
        "site"
    ),
    title: Annotated[str, typer.Option(help="The board's title.", rich_help_panel=OUTPUT)] = "Leaderboard",
    check: Annotated[
        bool, typer.Option("--check", help="Only check submissions, and write nothing.", rich_help_panel=METHOD)
    ] = False,
) -> None:
    """Write a static site that ranks models, or check submissions to one."""
    if check:
        for source in sources:
            found = bitproof.leaderboard.read_submission(source)
            models = len(found.entries)
            print(f"{source}: {models} model{'s' * (models != 1)} by {found.by}, as a submission should be")
        return
    path = bitproof.write_leaderboard(sources, output, title=title)
    print(f"leaderboard: {path}")


def submit(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The store to read; a run may be writing it.")],
    by: Annotated[str, typer.Option(help="Your name, or that of your group.", rich_help_panel=OUTPUT)],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write (.json).", rich_help_panel=OUTPUT)],
    link: Annotated[
        str, typer.Option(help="Where there is more about the models, http(s).", rich_help_panel=OUTPUT)
    ] = "",
    licence: Annotated[str, typer.Option(help="The licence of the weights.", rich_help_panel=OUTPUT)] = "",
) -> None:
    """Write what models of a store got right as one file, for a leaderboard."""
    check_output(output, "a submission", store)
    made = bitproof.submit(store, output, by=by, link=link, licence=licence)
    n = sum(len(entry.scores) for entry in made.entries)
    print(f"{output}: {len(made.entries)} models, {n} results, {output.stat().st_size:,} bytes")
