"""The table of commands."""

from collections.abc import Callable
from typing import Annotated, Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand
from typer.models import OptionInfo

import bitproof
from bitproof.cli.audit import audit
from bitproof.cli.certify import certify
from bitproof.cli.compare import compare
from bitproof.cli.demo import demo
from bitproof.cli.evaluate import evaluate
from bitproof.cli.examples import EXAMPLES
from bitproof.cli.export import export
from bitproof.cli.gallery import gallery
from bitproof.cli.gate import check
from bitproof.cli.implant import implant
from bitproof.cli.leaderboard import leaderboard, submit
from bitproof.cli.listing import list_names
from bitproof.cli.options import GROUPS
from bitproof.cli.quantize import quantize
from bitproof.cli.repair import repair
from bitproof.cli.report import report
from bitproof.cli.reproduce import reproduce
from bitproof.cli.run import run
from bitproof.cli.stores import diff, merge
from bitproof.cli.train import train
from bitproof.errors import InputError


class Command(TyperCommand):
    """A command whose options are shown in groups, in the same order everywhere, and have no empty values: an empty
    path would be the folder one is in."""

    def get_params(self, ctx: Any) -> list[Any]:
        return sorted(super().get_params(ctx), key=_place)

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


def _place(param: Any) -> int:
    """Where a parameter stands in the help: arguments as they are called with, then group by group."""
    if param.param_type_name == "argument":
        return -1
    param.hidden |= "--help" in param.opts  # whoever reads it knows that one
    return GROUPS.index(param.rich_help_panel) if param.rich_help_panel in GROUPS else len(GROUPS)


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
    "certify": certify,
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

_VALUES = {"bool": "", "int": "N", "float": "X", "Path": "PATH"}
"""What stands for an option's value in the help, by a word in its type; TEXT for all others."""


def _say_values(command: Callable[..., None]) -> None:
    """Let the help name values by a word, with dots where an option may be given several times."""
    for hint in get_type_hints(command, include_extras=True).values():
        for said in getattr(hint, "__metadata__", ()):
            if isinstance(said, OptionInfo):
                kind = str(get_args(hint)[0])
                value = next((shown for word, shown in _VALUES.items() if word in kind), "TEXT")
                said.metavar = f"{value} ..." if "list" in kind else value


for _name, _command in COMMANDS.items():
    _say_values(_command)
    app.command(_name, cls=Command, epilog=f"For example: {EXAMPLES[_name]}")(_command)


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
