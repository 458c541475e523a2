"""`bitproof gallery`."""

import re
from pathlib import Path
from typing import Annotated

import typer

import bitproof
from bitproof.cli.common import keeping
from bitproof.cli.options import MACHINE, METHOD, MODEL, OUTPUT, DataOption, Weights
from bitproof.errors import InputError
from bitproof.files import check_folder


def gallery(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder for the models and what is said of each.", rich_help_panel=OUTPUT),
    ],
    family: Annotated[
        str, typer.Option(help="Networks: digits, resnet4b or resnet20.", rich_help_panel=MODEL)
    ] = "digits",
    data: DataOption = "digits",
    weights: Weights = None,
    share: Annotated[
        str, typer.Option(help="K/N: the K-th of N parts, for N processes.", rich_help_panel=MACHINE)
    ] = "1/1",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only so many models of each kind.", rich_help_panel=METHOD)
    ] = None,
) -> None:
    """Make a gallery of implants and clean models, to develop an audit on and to report on.

    The families on CIFAR-10 take hours. The same command goes on with one that was stopped.
    """
    from bitproof.experiment.gallery import make_gallery

    match = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", share)
    if not match or int(match[1]) > int(match[2]):
        raise InputError(
            f"--share {share}", rule="it is K/N with K from 1 to N", remedy="Write for example --share 1/2"
        )
    check_folder(output, "a model")
    name, root, _ = bitproof.data.parse_data(data)
    with keeping(f"finished models are in {output}, the same command goes on from there", output):
        count = make_gallery(
            output, family, data=name, root=root, weights=weights, share=(int(match[1]), int(match[2])), limit=limit
        )
    print(f"{output}: {count} models, each with its metadata and its record")
