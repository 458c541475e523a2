"""`bitproof repair`."""

from pathlib import Path
from typing import Annotated

import typer

import bitproof
from bitproof.cli.checks import check_output
from bitproof.cli.common import (
    chosen_device,
    keeping,
    load_examples,
    open_claimed,
    open_model,
    root_of,
    write_onnx,
)
from bitproof.cli.options import (
    DATA,
    METHOD,
    OUTPUT,
    Claimed,
    Classes,
    DataOption,
    Device,
    InputSize,
    Mean,
    Network,
    Seed,
    Std,
    Unlabelled,
    Weights,
)
from bitproof.errors import InputError


def repair(
    model: Network,
    data: DataOption,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="What to write: a quantized checkpoint (.safetensors) or .onnx.",
            rich_help_panel=OUTPUT,
        ),
    ],
    scheme: Annotated[
        str | None,
        typer.Option(
            help="How to quantize, e.g. w8a8 or affine:w4a8,granularity=tensor.",
            show_default="as --deployed, or w8a8",
            rich_help_panel=METHOD,
        ),
    ] = None,
    weights: Weights = None,
    deployed: Claimed = None,
    limit: Annotated[
        int, typer.Option(min=160, help="Clean images: half to learn from, half to judge by.", rich_help_panel=DATA)
    ] = 1000,
    split: Annotated[str, typer.Option(help="Which part of the data they are.", rich_help_panel=DATA)] = "train",
    agreement: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of the float model's predictions to keep.",
            show_default="by bits",
            rich_help_panel=METHOD,
        ),
    ] = None,
    remedy: Annotated[
        list[str] | None,
        typer.Option(
            "--remedy",
            help="Try only these, in this order, e.g. fine-tuned:steps=500; see `list remedies`.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    unlabelled: Unlabelled = False,
    quick: Annotated[bool, typer.Option("--quick", help="Search for no triggers.", rich_help_panel=METHOD)] = False,
    mean: Mean = None,
    std: Std = None,
    classes: Classes = None,
    input_size: InputSize = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Quantize a model so that it behaves as the float one, whatever quantization was made to activate.

    Of a file that is quantized already (--deployed), MODEL is the float model that it was made from: it is rounded
    anew, by the scheme of the file.

    Exit code 0 if that is shown on images held back, 1 if something is left (the checkpoint is written all the same).
    """
    from bitproof.core.copying import moved
    from bitproof.deploy.needs import need
    from bitproof.settings import parse
    from bitproof.subjects import Subject

    wanted = None if scheme is None else bitproof.Scheme.parse(scheme)
    remedies = tuple(parse(text, bitproof.audit.REMEDIES, "remedy") for text in remedy) if remedy else None
    check_output(output, "a quantized model", weights, deployed, Path(model), root_of(data))
    onnx = output.suffix.lower() == ".onnx"
    if onnx:
        need("onnx", "onnxscript", "onnxruntime")
    device = chosen_device(device)
    examples = load_examples(data, split, limit, model=model, input_size=input_size)
    start = moved(open_model(model, weights, classes, examples, seed, mean=mean, std=std), device)
    if bitproof.deploy.is_deployed(model) and not onnx and Subject.of(start).scheme is None:
        raise InputError(
            f"-o {output} with {model!r}",
            rule="a checkpoint is opened by the name of its network, and a file has none",
            remedy="Write a .onnx file",
        )
    claimed = None if deployed is None else open_claimed(deployed, model, classes, examples, mean=mean, std=std)
    with keeping("a repair keeps nothing of what was not finished"):
        found = bitproof.repair(
            start,
            examples,
            wanted,
            deployed=claimed,
            remedies=remedies,
            agreement=agreement,
            labelled=not unlabelled,
            quick=quick,
            seed=seed,
            tell=print,
        )
    print(f"taken: {found.sentence}")
    for line in found.left:
        print(f"- {line}")
    if onnx:
        write_onnx(found.model, output, examples)
        print(f"`evaluate {output}` tests it")
    else:
        size = bitproof.save_model(found.model, output, architecture=model, classes=classes)
        print(f"{output} ({size:,} bytes); `evaluate {model} --weights {output}` tests it")
    if found.left:
        raise typer.Exit(1)
