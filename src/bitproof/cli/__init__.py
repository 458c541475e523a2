"""The command line: reads arguments, calls the library, prints what comes back. One file a command."""

import contextlib
import os
import sys
from typing import Annotated

import typer

import bitproof
from bitproof.cli.demo import demo
from bitproof.cli.evaluate import evaluate
from bitproof.cli.export import export
from bitproof.cli.listing import list_names
from bitproof.cli.quantize import quantize
from bitproof.cli.report import report
from bitproof.cli.train import train
from bitproof.errors import InputError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Is your quantized image classifier still accurate, robust and trustworthy? Measure it, with evidence.",
)

COMMANDS = {
    "demo": demo,
    "evaluate": evaluate,
    "quantize": quantize,
    "train": train,
    "report": report,
    "export": export,
    "list": list_names,
}
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


def main() -> None:
    """Run the command line; a user's mistake prints one message and exits with code 2."""
    # Threads that wait for work by spinning long slow each other down several times where cores are shared.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    with contextlib.suppress(AttributeError):  # streams replaced by a test have no encoding to set
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    try:
        app()
    except InputError as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == 130:  # how Typer ends on Ctrl-C
            typer.secho("stopped: finished results are in the store, the same command goes on from there", err=True)
        raise
    except BrokenPipeError:  # the reader of a pipe left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"bitproof {bitproof.__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
