"""`bitproof certify`."""

from typing import Annotated

import typer

import bitproof
from bitproof.cli.checks import check_distinct
from bitproof.cli.common import (
    calibration_images,
    chosen_device,
    label_of,
    load_examples,
    open_model,
    quantized_copy,
    under_noise,
)
from bitproof.cli.options import (
    METHOD,
    OUTPUT,
    PTQ,
    CalibrationCount,
    CalibrationData,
    CalibrationNoise,
    Classes,
    DataOption,
    Device,
    InputSize,
    Json,
    Limit,
    Mean,
    Network,
    Sample,
    Seed,
    Split,
    Std,
    Weights,
)
from bitproof.errors import InputError


def certify(
    model: Network,
    data: DataOption,
    scheme: Annotated[
        list[str],
        typer.Option(help="Also certify a quantized copy, from few draws, e.g. w4a4.", rich_help_panel=METHOD),
    ],
    weights: Weights = None,
    mean: Mean = None,
    std: Std = None,
    classes: Classes = None,
    input_size: InputSize = None,
    ptq: PTQ = None,
    smoothing: Annotated[
        str, typer.Option(help="The noise, e.g. smoothing:sigma=0.25,draws=10000.", rich_help_panel=METHOD)
    ] = "smoothing",
    paired: Annotated[
        int, typer.Option(min=1, help="Draws that each copy is asked about beside the model.", rich_help_panel=METHOD)
    ] = 1000,
    radius: Annotated[
        list[float] | None,
        typer.Option(
            help="A radius in l2 to say certified accuracy at; repeat it.",
            show_default="0, 1 and 2 sigma",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    split: Split = "test",
    limit: Limit = None,
    sample: Sample = None,
    calibration_data: CalibrationData = None,
    calibration_count: CalibrationCount = 512,
    calibration_noise: CalibrationNoise = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Certify a model under noise, and its quantized copies from what they answer otherwise (Ugare et al. 2023)."""
    device = chosen_device(device)
    from bitproof.core.copying import moved
    from bitproof.defences import Smoothing, parse_defence

    how = parse_defence(smoothing)
    if not isinstance(how, Smoothing):
        raise InputError(
            f"--smoothing {smoothing}", rule="certificates are those of smoothing", remedy="Write smoothing:sigma=0.25"
        )
    schemes = [bitproof.Scheme.parse(text) for text in scheme]
    check_distinct(["float", *(label_of(wanted, ptq) for wanted in schemes)])
    framing = {"model": model, "input_size": input_size}
    examples = load_examples(data, split, limit, sample=sample, seed=seed, **framing)
    original = moved(open_model(model, weights, classes, examples, seed, mean=mean, std=std), device)
    calibration = examples  # whose first images show which layers are first and last
    if ptq or any(wanted.needs_calibration for wanted in schemes):
        calibration = calibration_images(
            data, calibration_data, calibration_count, examples.shape, split, avoidable=ptq is None, **framing
        )
    seen = under_noise(calibration, calibration_noise, seed)
    copies = dict(quantized_copy(original, wanted, ptq, seen, seed) for wanted in schemes)
    rows = bitproof.defences.certified_rows(
        how, original, copies, examples, paired=paired, radii=radius or [0.0, how.sigma, 2 * how.sigma]
    )
    if json:
        import json as text

        print(text.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{how.label}, n = {len(examples):,}, alpha {how.alpha:g}")
    for name in rows[0]:
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in rows:
        shares = (f"{value:.1%}" if name.startswith("certified") else str(value) for name, value in row.items())
        table.add_row(*shares)
    Console().print(table)
