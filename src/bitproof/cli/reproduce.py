"""`bitproof reproduce`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from bitproof.cli.checks import check_store
from bitproof.cli.common import chosen_device, keeping
from bitproof.cli.options import DATA, METHOD, MODEL, OUTPUT, Device, Seed
from bitproof.errors import InputError
from bitproof.files import check_folder


def reproduce(
    paper: Annotated[
        str | None, typer.Argument(metavar="PAPER", help="xiao2023, bernhard2019, li2024, lin2019, hong2021.")
    ] = None,
    table: Annotated[
        str | None, typer.Argument(metavar="TABLE", help="table3 or figure1; see `bitproof list tables`.")
    ] = None,
    all_tables: Annotated[
        bool,
        typer.Option(
            "--all",
            help="All tables, of PAPER alone if it is given.",
            rich_help_panel=METHOD,
        ),
    ] = False,
    scale: Annotated[
        str,
        typer.Option(
            help="smoke (digits), reduced (an hour on two cores), full (as the paper).", rich_help_panel=METHOD
        ),
    ] = "smoke",
    setting: Annotated[
        str | None,
        typer.Option(help="Which experiment of the table.", show_default="its first", rich_help_panel=METHOD),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where the data set lies; the digits are embedded.", rich_help_panel=DATA)
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="A trained float model that the table starts from, as NETWORK=FILE.", rich_help_panel=MODEL),
    ] = None,
    store: Annotated[
        Path,
        typer.Option(
            help="Keeps results, and the models beside it; only what is missing is computed.", rich_help_panel=OUTPUT
        ),
    ] = Path("reproduced.db"),
    images: Annotated[
        int | None,
        typer.Option(min=1, help="So many random test images.", show_default="the scale's", rich_help_panel=DATA),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="Folder for outcomes and index.html of all of them; beside it FOLDER.md.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("reproduced"),
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Make a table of a paper, and put our numbers beside the printed ones.

    Says of each number whether it is consistent with the printed one, different, or not comparable and why; and
    whether the paper's conclusions hold. The same command goes on with one that was stopped.
    """
    from bitproof.tables import PAPERS, TABLES, reproduce, table_of, write_pages

    if all_tables:
        if table is not None or (paper is not None and paper not in PAPERS):
            raise InputError(
                f"--all with {table or paper}", rule="it is all tables, or all of a paper", remedy="Leave the table out"
            )
        chosen = [t for t in TABLES if paper in (None, t.paper)]
    elif paper is None or table is None:
        raise InputError(
            "no table", rule="a table is named by its paper and number", remedy="Write for example xiao2023 table3"
        )
    else:
        chosen = [table_of(paper, table)]
    check_store(store, root)
    check_folder(output, "outcomes")
    device = chosen_device(device)
    files = _files(weights or [])
    with keeping(f"what is finished is in {store}, the same command goes on from there", store):
        for one in chosen:
            outcome = reproduce(
                one.paper,
                one.number,
                scale=scale,
                setting=setting,
                root=root,
                weights=files,
                store=store,
                images=images,
                seed=seed,
                device=device,
            )
            outcome.save(output)
            _show(outcome, brief=all_tables)
    for page in write_pages(output):
        print(page)


def _files(given: list[str]) -> dict[str, Path]:
    """Weights by network.

    Raises:
        InputError: something else than NETWORK=FILE.
    """
    found: dict[str, Path] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not (name and equals and file):
            raise InputError(
                f"--weights {text}", rule="it is NETWORK=FILE", remedy="Write for example resnet20=resnet20.safetensors"
            )
        found[name] = Path(file)
    return found


def _show(outcome: Any, *, brief: bool) -> None:
    """A table on the terminal; with others, a line each."""
    from rich.console import Console
    from rich.table import Table

    from bitproof.tables import pages

    console = Console()
    if not console.is_terminal:
        console.width = 200
    if brief:
        console.print(
            f"{pages.heading(outcome)}: {pages.tally(outcome)}; conclusions: {outcome.conclusion}",
            highlight=False,
            markup=False,
        )
        return
    table = Table(title=pages.heading(outcome), caption=pages.about(outcome), caption_justify="left")
    for title in ("row", "column"):
        table.add_column(title, no_wrap=True)
    for title in ("ours", "95% interval", "n", "printed", "difference"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("verdict")
    for line in pages.table(outcome):
        table.add_row(*line)
    console.print(table)
    for claim in outcome.claims:
        console.print(pages.summary(claim), highlight=False, markup=False)
