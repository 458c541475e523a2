"""`bitproof evaluate`."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

import bitproof
from bitproof.cli.checks import check_distinct, check_fit, check_output, check_store
from bitproof.cli.common import (
    calibration_images,
    keeping,
    kept_in,
    label_of,
    load_examples,
    open_model,
    print_result,
    quantized_copy,
    root_of,
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
    Seed,
    StoreOption,
    Trust,
    Weights,
)
from bitproof.cli.twins import Twin, names_network, twinned
from bitproof.errors import InputError, lookup


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
    onnx: Annotated[
        list[Path] | None,
        typer.Option("--onnx", "--deployed", help="Also test a file of a runtime: .onnx, .tflite, .pt2."),
    ] = None,
    twin: Twin = None,
    trust: Trust = False,
    classes: Classes = None,
    seed: Seed = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a pass; results do not depend on it.")] = 128,
    independent: Annotated[
        bool, typer.Option("--independent", help="Attack all examples anew at every budget of an attack.")
    ] = False,
    crafting: Annotated[
        str, typer.Option(help="Make attacks on the model itself, or a faster one: exact, folded or bfloat16.")
    ] = "exact",
    workers: Annotated[
        int, typer.Option(min=0, max=256, help="Processes that decode and corrupt images beside this one.")
    ] = 0,
    jobs: Annotated[
        int, typer.Option(min=1, max=256, help="Conditions worked on at once, each by a process of its own.")
    ] = 1,
    diagnose: Annotated[
        bool, typer.Option("--diagnose", help="Also look for masked gradients (about 1,000 passes an example).")
    ] = False,
    store: StoreOption = None,
    report: ReportOption = None,
) -> None:
    """Test a model and quantized copies of it under a suite of conditions."""
    files = [weights, *(onnx or []), Path(model)]
    check_output(report, "the report", store, *files, root_of(data), root_of(calibration_data))
    check_store(store, *files)
    from bitproof.conditions import as_crafted, check_names
    from bitproof.conditions.suites import conditions_of
    from bitproof.judging import CRAFTING

    schemes = [bitproof.Scheme.parse(text) for text in scheme or []]
    if ptq is not None and not schemes:
        raise InputError(
            f"--ptq {ptq} without --scheme",
            rule="the pipeline makes the quantized copies",
            remedy="Add a scheme, such as --scheme w8a8",
        )
    labels = [label_of(wanted, ptq) for wanted in schemes]
    conditions = [bitproof.experiment.parse_condition(text) for text in condition or []]
    attacks = [as_crafted(text) for text in transfer or []]
    lookup(CRAFTING, crafting, "way to make attacks")
    examples = load_examples(data, split, limit)
    if suite is not None or not (conditions or attacks):
        conditions_of("quick" if suite is None else suite, examples)
    calibration = examples  # whose first images show which layers are first and last
    if ptq or any(wanted.needs_calibration for wanted in schemes):
        calibration = calibration_images(data, calibration_data, calibration_count, examples.shape, split)
    of_twin = names_network(twin) and bitproof.deploy.is_deployed(model)
    original = open_model(model, None if of_twin else weights, None if of_twin else classes, examples, trust=trust)
    tested = _named(model, original, onnx or [], trust)
    for name in list(tested)[1:]:
        check_fit(tested[name], examples, name)
    if twin is not None:
        tested = twinned(tested, twin, original, weights, classes, examples)
    check_distinct([*tested, *labels])
    for planned in (*conditions, *attacks):
        check_names(planned, [*tested, *labels], examples.classes)
    with keeping(kept_in(store)):
        for wanted in schemes:
            label, quantized = quantized_copy(original, wanted, ptq, calibration)
            tested[label] = quantized
        result = bitproof.evaluate(
            tested,
            examples,
            suite=suite,
            conditions=conditions,
            transfer=attacks,
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


def _named(model: str, original: Any, files: list[Path], trust: bool) -> dict[str, Any]:
    """The models that are there already, by name: what is quantized is called so, a file by its name, or by its path
    where several have that name.

    Raises:
        InputError: a file that is given twice, or that cannot be opened.
    """
    own_scheme = getattr(original, "scheme", None)
    deployed = bitproof.deploy.is_deployed(model)
    given = [Path(model), *files] if deployed else files
    often = Counter(path.name for path in given)
    names = [path.name if often[path.name] == 1 else str(path) for path in given]
    if not deployed:
        names.insert(0, own_scheme.label if own_scheme else "float")
    check_distinct(names)
    opened = [bitproof.deploy.load_deployed(file, trust=trust) for file in files]
    return dict(zip(names, [original, *opened], strict=True))
