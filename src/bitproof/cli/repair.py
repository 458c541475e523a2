"""`bitproof repair`."""

from pathlib import Path
from typing import Annotated

import typer

import bitproof
from bitproof.cli.checks import check_output
from bitproof.cli.common import chosen_device, keeping, load_examples, open_model, root_of
from bitproof.cli.options import Classes, DataOption, Device, InputSize, Mean, Model, Seed, Std, Weights


def repair(
    model: Model,
    data: DataOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="Quantized checkpoint to write (.safetensors).")],
    scheme: Annotated[str, typer.Option(help="How to quantize, e.g. w8a8 or affine:w4a8,granularity=tensor.")] = "w8a8",
    weights: Weights = None,
    limit: Annotated[int, typer.Option(min=160, help="Clean images: half to learn from, half to judge by.")] = 1000,
    split: Annotated[str, typer.Option(help="Which part of the data they are.")] = "train",
    agreement: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Share of the float model's predictions to keep. [default: by bits]"),
    ] = None,
    remedy: Annotated[
        list[str] | None,
        typer.Option("--remedy", help="Try only these, in this order, e.g. fine-tuned:steps=500; see `list remedies`."),
    ] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="The labels of the data are not the true ones.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Search for no triggers.")] = False,
    mean: Mean = None,
    std: Std = None,
    classes: Classes = None,
    input_size: InputSize = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Quantize a model so that it behaves as the float one, whatever quantization was made to activate.

    Exit code 0 if that is shown on images held back, 1 if something is left (the checkpoint is written all the same).
    """
    from bitproof.core.copying import moved
    from bitproof.settings import parse

    wanted = bitproof.Scheme.parse(scheme)
    remedies = tuple(parse(text, bitproof.audit.REMEDIES, "remedy") for text in remedy) if remedy else None
    check_output(output, "a checkpoint", weights, root_of(data))
    device = chosen_device(device)
    examples = load_examples(data, split, limit, model=model, input_size=input_size)
    start = moved(open_model(model, weights, classes, examples, seed, mean=mean, std=std), device)
    with keeping("a repair keeps nothing of what was not finished"):
        found = bitproof.repair(
            start,
            examples,
            wanted,
            remedies=remedies,
            agreement=agreement,
            labelled=not unlabelled,
            quick=quick,
            seed=seed,
            tell=print,
        )
    size = bitproof.save_model(found.model, output, architecture=model, classes=classes)
    print(f"taken: {found.sentence}")
    for line in found.left:
        print(f"- {line}")
    print(f"{output} ({size:,} bytes); `evaluate {model} --weights {output}` tests it")
    if found.left:
        raise typer.Exit(1)
