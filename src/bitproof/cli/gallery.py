"""`bitproof gallery`."""

import re
from pathlib import Path
from typing import Annotated

import typer

from bitproof.cli.common import keeping
from bitproof.errors import InputError
from bitproof.files import check_folder


def gallery(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the models and what is said of each.")],
    share: Annotated[str, typer.Option(help="K/N: the K-th of N parts, for N processes.")] = "1/1",
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many models of each kind.")] = None,
) -> None:
    """Make a gallery of implants and clean models on the digits, to develop an audit on and to report on.

    The same command goes on with one that was stopped.
    """
    from bitproof.experiment.gallery import make_gallery

    match = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", share)
    if not match or int(match[1]) > int(match[2]):
        raise InputError(
            f"--share {share}", rule="it is K/N with K from 1 to N", remedy="Write for example --share 1/2"
        )
    check_folder(output, "a model")
    with keeping(f"finished models are in {output}, the same command goes on from there"):
        count = make_gallery(output, share=(int(match[1]), int(match[2])), limit=limit)
    print(f"{output}: {count} models, each with its metadata and its record")
