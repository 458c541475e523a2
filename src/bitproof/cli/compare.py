"""`bitproof compare`."""

from pathlib import Path
from typing import Annotated

import typer

import bitproof
from bitproof.cli.checks import check_deployed, check_fit
from bitproof.cli.common import chosen_device, load_examples, open_deployed, open_model
from bitproof.cli.options import (
    Classes,
    ClassList,
    DataOption,
    DeployedMean,
    DeployedStd,
    Device,
    InputSize,
    Limit,
    Mean,
    Model,
    Sample,
    Seed,
    Split,
    Std,
    Trust,
    Weights,
)


def compare(
    model: Model,
    deployed: Annotated[
        str,
        typer.Argument(
            metavar="DEPLOYED", help="FILE.onnx, FILE.tflite, FILE.xml, or a checkpoint or weights of MODEL."
        ),
    ],
    data: DataOption,
    weights: Weights = None,
    split: Split = "test",
    limit: Limit = None,
    sample: Sample = None,
    seed: Seed = 0,
    mean: Mean = None,
    std: Std = None,
    deployed_mean: DeployedMean = None,
    deployed_std: DeployedStd = None,
    classes: Classes = None,
    input_size: InputSize = None,
    class_list: ClassList = None,
    trust: Trust = False,
    device: Device = "auto",
) -> None:
    """Compare a model with what is deployed: agreement, paired accuracy, noise a layer, and where they part."""
    device = chosen_device(device)
    from bitproof.core.copying import moved

    framing = {"model": model, "input_size": input_size, "class_list": class_list}
    examples = load_examples(data, split, limit, sample=sample, seed=seed, **framing)
    first = moved(open_model(model, weights, classes, examples, seed, mean=mean, std=std, trust=trust), device)
    check_deployed(Path(deployed))
    if not bitproof.deploy.is_deployed(deployed):
        opened = open_model(model, Path(deployed), classes, examples, mean=deployed_mean, std=deployed_std)
        second = moved(opened, device)
    else:
        second = open_deployed(deployed, mean=deployed_mean, std=deployed_std, trust=trust)
        check_fit(second, examples, deployed)
    found = bitproof.deploy.compare(first, second, examples)
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
