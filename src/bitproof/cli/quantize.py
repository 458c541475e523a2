"""`bitproof quantize`."""

from pathlib import Path
from typing import Annotated, Any

import typer

import bitproof
from bitproof.cli.checks import check_output
from bitproof.cli.common import (
    chosen_device,
    label_of,
    load_examples,
    open_model,
    quantized_copy,
    root_of,
    under_noise,
    write_onnx,
)
from bitproof.cli.options import (
    DATA,
    METHOD,
    OUTPUT,
    PTQ,
    CalibrationCount,
    CalibrationNoise,
    Checkpoint,
    Classes,
    Device,
    InputSize,
    Mean,
    Network,
    Seed,
    Std,
    Weights,
)
from bitproof.errors import InputError
from bitproof.report import text


def quantize(
    model: Network,
    output: Checkpoint,
    scheme: Annotated[
        str | None,
        typer.Option(
            help="How, e.g. w8a8 or affine:w4a4,act_range=percentile.", show_default="w8a8", rich_help_panel=METHOD
        ),
    ] = None,
    ptq: PTQ = None,
    mixed: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Search the fewest bits a layer that keep this agreement.", rich_help_panel=METHOD
        ),
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(help="What --mixed makes cheap: macs or bytes.", show_default="macs", rich_help_panel=METHOD),
    ] = None,
    weights: Weights = None,
    mean: Mean = None,
    std: Std = None,
    classes: Classes = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Calibration images (their train split): digits, cifar10:ROOT, folder:ROOT.",
            rich_help_panel=DATA,
        ),
    ] = None,
    input_size: InputSize = None,
    calibration_count: CalibrationCount = 512,
    calibration_noise: CalibrationNoise = None,
    onnx: Annotated[
        Path | None,
        typer.Option(help="Also write an ONNX file that runs on integers (extra: deploy).", rich_help_panel=OUTPUT),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Quantize a model and save it; `evaluate MODEL --weights FILE` opens it again.

    A checkpoint that is quantized already, as `train` writes them, is taken as it is if there is no --scheme.
    """
    from bitproof.core.copying import moved
    from bitproof.deploy.needs import need

    if mixed is not None and (scheme is not None or ptq is not None):
        raise InputError(
            f"--mixed {mixed} with {'--scheme' if scheme is not None else '--ptq'}",
            rule="the search chooses the scheme, and rounds to nearest",
            remedy="Leave one of them out",
        )
    if cost is not None and mixed is None:
        raise InputError(
            f"--cost {cost} without --mixed",
            rule="it is what a search of the bits of each layer makes cheap",
            remedy="Add --mixed 0.98, or leave it out",
        )
    search = bitproof.ptq.MixedSearch(agreement=mixed, cost=cost or "macs") if mixed is not None else None
    wanted = bitproof.Scheme.parse(scheme or "w8a8")
    label = label_of(wanted, ptq)
    check_output(output, "a checkpoint", weights, root_of(data))
    check_output(onnx, "the model", weights, root_of(data))
    device = chosen_device(device)
    if onnx:
        need("onnx", "onnxscript", "onnxruntime")
    calibration = None
    if data is not None:
        calibration = load_examples(data, "train", calibration_count, model=model, input_size=input_size)
    quantized = moved(open_model(model, weights, classes, calibration, seed, mean=mean, std=std), device)
    finished = getattr(quantized, "scheme", None) if scheme is None and ptq is None else None
    if data is None and (onnx or search or (not finished and (ptq or wanted.needs_calibration))):
        raise InputError(
            f"{'--onnx' if onnx else '--mixed' if search else label} without --data",
            rule="images tell the ranges of activations",
            remedy="Pass calibration images, such as --data digits",
        )
    shown = None if calibration is None else next(calibration.inputs(1))
    calibration = None if calibration is None else under_noise(calibration, calibration_noise, seed)
    if search is not None:
        wanted = _searched(search, quantized, calibration)
        label, quantized = quantized_copy(quantized, wanted, None, calibration, seed)
    elif finished:
        label = finished.label
    else:
        label, quantized = quantized_copy(quantized, wanted, ptq, calibration, seed)
    size = bitproof.save_model(quantized, output, architecture=model, classes=classes)
    room = bitproof.deploy.sizes(quantized)
    print(f"{label}: {output} ({size:,} bytes; weights are kept in float until deployment)")
    print(f"in float {room.float_bytes:,} bytes, with packed weights {room.packed_bytes:,}")
    frozen = bitproof.quant.freeze(quantized)
    if (found := bitproof.quant.coverage(frozen, shown)) is not None:
        print(text.coverage(found))
        print(*text.parts(found, bitproof.quant.reasons(frozen, found)), sep="\n")
    if onnx:
        write_onnx(quantized, onnx, calibration)


def _searched(search: Any, model: Any, calibration: Any) -> Any:
    """The scheme that a search finds; says what it costs, and how well it keeps the predictions."""
    found = search(model, calibration)
    rate, low, high = found.agreement
    print(f"agreement on {found.held_back} images held back: {rate:.1%} ({low:.1%} to {high:.1%})")
    for name, before in found.start.items():
        after = found.found[name]
        print(f"{bitproof.ptq.COSTS[name]}: {before:,.0f} to {after:,.0f} ({after / before:.0%})")
    print(f"scheme: {found.scheme.label}")
    return found.scheme
