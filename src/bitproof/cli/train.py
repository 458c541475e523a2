"""`bitproof train`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

import bitproof
from bitproof.cli.checks import check_run_folder
from bitproof.cli.common import chosen_device, keeping, load_examples, open_model
from bitproof.cli.options import (
    METHOD,
    MODEL,
    OUTPUT,
    Classes,
    DataOption,
    Device,
    InputSize,
    Limit,
    Mean,
    Network,
    Seed,
    Std,
    Weights,
)
from bitproof.errors import InputError


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="How, e.g. lsq or qat:epochs=3; see `bitproof list recipes`.")
    ],
    model: Network,
    data: DataOption,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for checkpoints, history and state.", rich_help_panel=OUTPUT)
    ],
    scheme: Annotated[
        str | None, typer.Option(help="For quantization-aware recipes, e.g. lsq:w2a2.", rich_help_panel=METHOD)
    ] = None,
    weights: Weights = None,
    mean: Mean = None,
    std: Std = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Weights of MODEL that a matching or distilling objective learns from.", rich_help_panel=MODEL
        ),
    ] = None,
    classes: Classes = None,
    input_size: InputSize = None,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Train a model on the data's train split, with its quantizers in place if the recipe says so.

    Without --weights it starts from random weights. The same command goes on with a run that was stopped.
    """
    from bitproof.settings import parse
    from bitproof.train.teaching import learns_from_model

    how = parse(recipe, bitproof.train.RECIPES, "recipe")
    if scheme is not None:
        if how.quantization is None:
            raise InputError(
                f"recipe {recipe!r} with --scheme {scheme}",
                rule="only quantization-aware recipes have a scheme",
                remedy="Use qat, lsq, pact or another one of them, or leave --scheme out",
            )
        wanted = bitproof.Scheme.parse(scheme)
        how = dataclasses.replace(how, quantization=dataclasses.replace(how.quantization, scheme=wanted))
    if teacher is not None and not learns_from_model(how.objective):
        raise InputError(
            f"recipe {recipe!r} with --teacher {teacher}",
            rule="only objectives that learn from a model have a teacher, and this one would never be asked",
            remedy="Use distillation=0.9 or li2024-matching, or leave --teacher out",
        )
    check_run_folder(output, weights)
    device = chosen_device(device)
    examples = load_examples(data, "train", limit, model=model, input_size=input_size)
    start = open_model(model, weights, classes, examples, seed, mean=mean, std=std)
    taught = open_model(model, teacher, classes, examples, seed, mean=mean, std=std) if teacher else None
    with keeping(f"the run is in {output}, the same command goes on from there", output):
        bitproof.experiment.train(
            how,
            start,
            examples,
            output=output,
            architecture=model,
            classes=classes,
            seed=seed,
            teacher=taught,
            device=device,
        )
    print((output / "history.csv").read_text().rstrip())
    print(f"{output}: best.safetensors, last.safetensors, history.csv, history.png")
