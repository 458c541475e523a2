"""`bitproof evaluate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

import bitproof
from bitproof.cli.common import (
    calibration_images,
    check_output,
    load_examples,
    open_model,
    print_result,
    quantized_copy,
)
from bitproof.cli.options import (
    PTQ,
    CalibrationCount,
    CalibrationData,
    Classes,
    DataOption,
    Limit,
    Model,
    ReportOption,
    StoreOption,
    Weights,
)


def evaluate(
    model: Model,
    data: DataOption,
    weights: Weights = None,
    scheme: Annotated[
        list[str] | None, typer.Option(help="Also test a quantized copy, e.g. w8a8 or affine:w4a4,granularity=tensor.")
    ] = None,
    ptq: PTQ = None,
    suite: Annotated[
        str | None, typer.Option(help="Conditions to test under; see `bitproof list suites`. [default: quick]")
    ] = None,
    condition: Annotated[
        list[str] | None, typer.Option(help="A further condition, e.g. pgd:eps=2/255,steps=40.")
    ] = None,
    transfer: Annotated[
        list[str] | None, typer.Option(help="An attack on each model whose images are given to all of them.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which part of the data to test on.")] = "test",
    limit: Limit = None,
    calibration_data: CalibrationData = None,
    calibration_count: CalibrationCount = 512,
    onnx: Annotated[list[Path] | None, typer.Option(help="Also test an ONNX file, run by ONNX Runtime.")] = None,
    classes: Classes = None,
    seed: Annotated[int, typer.Option(help="Of all randomness.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Images a pass; results do not depend on it.")] = 128,
    independent: Annotated[
        bool, typer.Option("--independent", help="Attack all examples anew at every budget of an attack.")
    ] = False,
    crafting: Annotated[
        str, typer.Option(help="Make attacks on the model itself, or a faster one: exact, folded or bfloat16.")
    ] = "exact",
    workers: Annotated[int, typer.Option(help="Processes that decode and corrupt images beside this one.")] = 0,
    jobs: Annotated[int, typer.Option(help="Conditions worked on at once, each by a process of its own.")] = 1,
    diagnose: Annotated[
        bool, typer.Option("--diagnose", help="Also look for masked gradients (about 1,000 passes an example).")
    ] = False,
    store: StoreOption = None,
    report: ReportOption = None,
) -> None:
    """Test a model and quantized copies of it under a suite of conditions."""
    check_output(report, store, weights, *(onnx or []))
    schemes = [bitproof.Scheme.parse(text) for text in scheme or []]
    conditions = [bitproof.experiment.parse_condition(text) for text in condition or []]
    examples = load_examples(data, split, limit)
    original = open_model(model, weights, classes)
    own_scheme: Any = getattr(original, "scheme", None)
    name = own_scheme.label if own_scheme else "float"
    tested = {Path(model).name if model.endswith(".onnx") else name: original}
    for wanted in schemes:
        calibration = None
        if wanted.needs_calibration or ptq:
            calibration = calibration_images(data, calibration_data, calibration_count)
        label, quantized = quantized_copy(original, wanted, ptq, calibration)
        tested[label] = quantized
    tested |= {path.name: bitproof.deploy.load_onnx(path) for path in onnx or []}
    result = bitproof.evaluate(
        tested,
        examples,
        suite=suite,
        conditions=conditions,
        transfer=transfer or (),
        store=store,
        seed=seed,
        batch_size=batch_size,
        independent=independent,
        crafting=crafting,
        workers=workers,
        jobs=jobs,
        diagnose=diagnose,
    )
    print_result(result)
    if report:
        print(f"\nreport: {result.report(report)}")
