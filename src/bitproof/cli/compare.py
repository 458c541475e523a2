"""`bitproof compare`."""

from pathlib import Path
from typing import Annotated, Any

import typer

import bitproof
from bitproof.cli.common import load_examples, open_model
from bitproof.cli.options import Classes, DataOption, Limit, Model, Trust, Weights
from bitproof.errors import InputError


def compare(
    model: Model,
    deployed: Annotated[
        str, typer.Argument(metavar="DEPLOYED", help="FILE.onnx, FILE.tflite, or a checkpoint of MODEL.")
    ],
    data: DataOption,
    weights: Weights = None,
    split: Annotated[str, typer.Option(help="Which part of the data to compare on.")] = "test",
    limit: Limit = None,
    classes: Classes = None,
    trust: Trust = False,
) -> None:
    """Compare a model with what is deployed: agreement, paired accuracy, noise a layer, and where they part."""
    examples = load_examples(data, split, limit)
    first = open_model(model, weights, classes, examples)
    found = bitproof.deploy.compare(first, _deployed(deployed, model, classes, examples, trust), examples)
    print(
        f"{model}: {found.accuracies[0]:.1%} right, {deployed}: {found.accuracies[1]:.1%} (n = {found.kinship.count:,})"
    )
    change, low, high = found.difference
    assert low is not None and high is not None
    print(f"difference {change:+.1%} ({low:+.1%} to {high:+.1%}), p = {found.p_value:.3g}")
    if found.layers:
        width = max(len(layer.name) for layer in found.layers)
        for layer in found.layers:
            print(f"  {layer.name:<{width}}  {_decibels(layer.decibels)}")
    print(f"  logits {_decibels(found.logits)}")
    for finding in found.findings:
        print(f"- {finding}")


def _decibels(value: float) -> str:
    return "equal" if value == float("inf") else f"{value:6.1f} dB"


def _deployed(name: str, model: str, classes: int | None, examples: Any, trust: bool) -> Any:
    if name.endswith(".safetensors"):
        return open_model(model, Path(name), classes, examples)
    if not Path(name).exists():
        raise InputError(
            f"there is no file {name!r}",
            rule="a deployed model is a file",
            remedy="Pass a .onnx or .tflite file, or a checkpoint",
        )
    return open_model(name, None, None, examples, trust=trust)
