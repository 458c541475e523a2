"""The table of commands."""

from typing import Annotated

import typer

import bitproof
from bitproof.cli.compare import compare
from bitproof.cli.demo import demo
from bitproof.cli.evaluate import evaluate
from bitproof.cli.export import export
from bitproof.cli.gate import check
from bitproof.cli.listing import list_names
from bitproof.cli.quantize import quantize
from bitproof.cli.report import report
from bitproof.cli.train import train

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
    "compare": compare,
    "train": train,
    "report": report,
    "check": check,
    "export": export,
    "list": list_names,
}
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


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
