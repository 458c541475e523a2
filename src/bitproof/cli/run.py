"""`bitproof run`: a whole experiment in a file."""

import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from bitproof.errors import InputError, lookup
from bitproof.reading import refusing

FIRST = {"evaluate": ("model",), "quantize": ("model",), "train": ("recipe", "model")}
"""Commands that a file may hold, and what they take by place."""


def run(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The experiment, a line an option.")],
) -> None:
    """Do what a TOML file says: `model = "resnet20"`, `data = "cifar10:ROOT"`, `scheme = ["w8a8", "w4a4"]`.

    Its names are those of the options of `evaluate`, or of the command that `command = "train"` names. The command
    that it amounts to is written into results and reports.
    """
    words = words_of(file)
    print(f"bitproof {' '.join(words)}", file=sys.stderr)
    sys.argv = [sys.argv[0], *words]  # what results note as their command
    group: Any = context.find_root().command
    group.main(words, prog_name="bitproof", standalone_mode=False)


def words_of(file: Path) -> list[str]:
    """A command line from a file.

    Raises:
        InputError: no such file, one that is no TOML, or a value that is no text, number, truth or list of these.
    """
    rule = "it is a TOML file with options of `bitproof evaluate`"
    with refusing(file, rule=rule, remedy='Write for example model = "resnet20"'):
        said = tomllib.loads(file.read_text("utf-8"))
    command = str(said.pop("command", "evaluate"))
    places = lookup(FIRST, command, "command of an experiment")
    lacking = [name for name in places if name not in said]
    if lacking:
        raise InputError(
            f"{file} says no {lacking[0]}", rule=f"`bitproof {command}` needs one", remedy=f'Add {lacking[0]} = "..."'
        )
    words = [command, *(str(said.pop(name)) for name in places)]
    for name, value in said.items():
        option = f"--{name.replace('_', '-')}"
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, bool):
                words += [option] if one else []
            elif isinstance(one, (str, int, float)):
                words += [option, str(one)]
            else:
                raise InputError(
                    f"{name} in {file} is a {type(one).__name__}",
                    rule="options are text, numbers, truths, or lists of these",
                    remedy="Write a line an option",
                )
    return words
