"""`--twin`: where deployed files get their gradients from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import bitproof
from bitproof.cli.common import numbers
from bitproof.cli.options import DEPLOYED
from bitproof.errors import InputError

Twin = Annotated[
    str | None,
    typer.Option(
        help="Attack deployed files by gradients: of the file itself (file), of MODEL (model), or a network's name.",
        rich_help_panel=DEPLOYED,
    ),
]

_COUNT = 64
"""Images on which a twin's two models are compared first."""


def names_network(twin: str | None) -> bool:
    """Whether --twin names a network, to which --weights then belong."""
    return twin is not None and twin not in ("file", "model")


def twinned(
    tested: Mapping[str, Any],
    twin: str,
    original: Any,
    weights: Path | None,
    classes: int | None,
    examples: Any,
    *,
    mean: str | None = None,
    std: str | None = None,
) -> dict[str, Any]:
    """The models, with a twin in the place of each that has no gradients; a note says how well its halves agree.

    A network of one's own whose weights bring no normalisation gets that of the file, `mean` and `std`.

    Raises:
        InputError: nothing to give a twin, a network without weights, or one whose halves do not belong together.
    """
    from bitproof.deploy.kinship import check_twin
    from bitproof.subjects import Subject

    deployed = [name for name, model in tested.items() if not Subject.of(model).gradients]
    if not deployed:
        raise InputError(
            f"--twin {twin} without a deployed file",
            rule="models in PyTorch have gradients of their own",
            remedy="Test a file, as MODEL or by --onnx, or leave --twin out",
        )
    if names_network(twin) and Subject.of(original).gradients:
        raise InputError(
            f"--twin {twin} beside a network as MODEL",
            rule="--weights are those of MODEL",
            remedy="Use --twin model, or name the deployed file as MODEL",
        )
    source = None
    if names_network(twin):
        if weights is None and not (bitproof.models.brings_weights(twin) or bitproof.models.is_own(twin)):
            raise InputError(
                f"--twin {twin} without --weights",
                rule="gradients of random weights tell an attack nothing",
                remedy="Give the weights that the file was made from, or use --twin file",
            )
        brings = weights is not None and "normalize.mean" in bitproof.models.read_weights(weights)
        bare = bitproof.models.is_own(twin) and not brings
        means, stds = (numbers(mean, "--mean"), numbers(std, "--std")) if bare else (None, None)
        source = bitproof.load_model(twin, weights=weights, classes=classes, mean=means, std=stds)
    elif twin == "model":
        source = original
    images = list(examples.inputs(_COUNT))[:1]
    found = dict(tested)
    for name in deployed:
        found[name] = bitproof.deploy.Twin(tested[name], gradient_from=source)
        typer.secho(f"note: {name} and its twin: {check_twin(found[name], images).finding}", err=True)
    return found
