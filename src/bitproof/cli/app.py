"""The table of commands."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import bitproof
from bitproof.cli.audit import audit
from bitproof.cli.compare import compare
from bitproof.cli.demo import demo
from bitproof.cli.evaluate import evaluate
from bitproof.cli.export import export
from bitproof.cli.gallery import gallery
from bitproof.cli.gate import check
from bitproof.cli.implant import implant
from bitproof.cli.leaderboard import leaderboard, submit
from bitproof.cli.listing import list_names
from bitproof.cli.quantize import quantize
from bitproof.cli.repair import repair
from bitproof.cli.report import report
from bitproof.cli.reproduce import reproduce
from bitproof.cli.run import run
from bitproof.cli.stores import diff, merge
from bitproof.cli.train import train
from bitproof.errors import InputError


class Filled(TyperCommand):
    """A command whose arguments and options have no empty values: an empty path would be the folder one is in."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given, *_ = self.make_parser(ctx).parse_args(args=list(args))
        for param in self.get_params(ctx):
            values = given.get(param.name)
            if "" in (values if isinstance(values, (list, tuple)) else (values,)):
                name = max(param.opts, key=len)
                raise InputError(
                    f"{name if name.startswith('-') else name.upper()} is empty",
                    rule="arguments and options have values",
                    remedy="Give it one, or leave it out; where it comes from a variable, see whether that is set",
                )
        return super().parse_args(ctx, args)


app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Is your quantized image classifier still accurate, robust and trustworthy? Measure it, with evidence.",
)

COMMANDS = {
    "demo": demo,
    "evaluate": evaluate,
    "run": run,
    "quantize": quantize,
    "audit": audit,
    "compare": compare,
    "train": train,
    "implant": implant,
    "gallery": gallery,
    "reproduce": reproduce,
    "repair": repair,
    "report": report,
    "leaderboard": leaderboard,
    "submit": submit,
    "check": check,
    "export": export,
    "merge": merge,
    "diff": diff,
    "list": list_names,
}
for _name, _command in COMMANDS.items():
    app.command(_name, cls=Filled)(_command)


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
