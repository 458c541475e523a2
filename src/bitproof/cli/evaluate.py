"""`bitproof evaluate`."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

import bitproof
from bitproof.cli.checks import check_distinct, check_fit, check_output, check_store
from bitproof.cli.common import (
    calibration_images,
    chosen_device,
    keeping,
    kept_in,
    label_of,
    load_examples,
    open_deployed,
    open_model,
    print_estimate,
    print_json,
    print_result,
    quantized_copy,
    root_of,
    tags_of,
    under_noise,
)
from bitproof.cli.defences import defended
from bitproof.cli.options import (
    DEPLOYED,
    MACHINE,
    METHOD,
    OUTPUT,
    PTQ,
    BatchSize,
    CalibrationCount,
    CalibrationData,
    CalibrationNoise,
    Classes,
    ClassList,
    DataOption,
    DeployedMean,
    DeployedStd,
    Device,
    InputSize,
    Json,
    Limit,
    Mean,
    MetricOption,
    Model,
    Quiet,
    ReportOption,
    Sample,
    Seed,
    Split,
    Std,
    StoreOption,
    Tag,
    Trust,
    Weights,
)
from bitproof.cli.twins import Twin, names_network, twinned
from bitproof.errors import InputError, lookup


def evaluate(
    model: Model,
    data: DataOption,
    weights: Weights = None,
    mean: Mean = None,
    std: Std = None,
    classes: Classes = None,
    input_size: InputSize = None,
    class_list: ClassList = None,
    scheme: Annotated[
        list[str] | None,
        typer.Option(
            help="Also test a quantized copy, e.g. w8a8 or affine:w4a4,granularity=tensor.", rich_help_panel=METHOD
        ),
    ] = None,
    ptq: PTQ = None,
    defence: Annotated[
        list[str] | None,
        typer.Option(
            help="Also test models behind a defence, e.g. squeezing:detector=label; an ensemble is of all.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            help="Conditions to test under; see `bitproof list suites`.", show_default="quick", rich_help_panel=METHOD
        ),
    ] = None,
    condition: Annotated[
        list[str] | None, typer.Option(help="A further condition, e.g. pgd:eps=2/255,steps=40.", rich_help_panel=METHOD)
    ] = None,
    transfer: Annotated[
        list[str] | None,
        typer.Option(help="An attack on each model whose images are given to all of them.", rich_help_panel=METHOD),
    ] = None,
    universal: Annotated[
        list[str] | None,
        typer.Option(
            help="One perturbation or patch for all, made of MODEL on calibration images, e.g. patch:side=5.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    surrogate: Annotated[
        str | None,
        typer.Option(
            help="A source of --transfer that speaks for many bit-widths, trained on calibration images: qaa.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    split: Split = "test",
    limit: Limit = None,
    sample: Sample = None,
    calibration_data: CalibrationData = None,
    calibration_count: CalibrationCount = 512,
    calibration_noise: CalibrationNoise = None,
    onnx: Annotated[
        list[Path] | None,
        typer.Option(
            "--onnx",
            "--deployed",
            help="Also test a file of a runtime: .onnx, .tflite, .xml, .pt2.",
            rich_help_panel=DEPLOYED,
        ),
    ] = None,
    deployed_mean: DeployedMean = None,
    deployed_std: DeployedStd = None,
    twin: Twin = None,
    trust: Trust = False,
    seed: Seed = 0,
    batch_size: BatchSize = 128,
    independent: Annotated[
        bool,
        typer.Option(
            "--independent", help="Attack all examples anew at every budget of an attack.", rich_help_panel=METHOD
        ),
    ] = False,
    crafting: Annotated[
        str,
        typer.Option(
            help="Make attacks on the model itself, or a faster one: exact, folded or bfloat16.", rich_help_panel=METHOD
        ),
    ] = "exact",
    workers: Annotated[
        int,
        typer.Option(
            min=0, max=256, help="Processes that decode and corrupt images beside this one.", rich_help_panel=MACHINE
        ),
    ] = 0,
    jobs: Annotated[
        int,
        typer.Option(
            min=1, max=256, help="Conditions worked on at once, each by a process of its own.", rich_help_panel=MACHINE
        ),
    ] = 1,
    executor: Annotated[
        str,
        typer.Option(
            help="What works on them: processes, or ray, a cluster on this or on many machines.",
            rich_help_panel=MACHINE,
        ),
    ] = "processes",
    address: Annotated[
        str | None,
        typer.Option(
            help="A Ray cluster that runs: auto, or host and port; else one is started.", rich_help_panel=MACHINE
        ),
    ] = None,
    device: Device = "auto",
    diagnose: Annotated[
        bool,
        typer.Option(
            "--diagnose", help="Also look for masked gradients (about 1,000 passes an example).", rich_help_panel=METHOD
        ),
    ] = False,
    analysis: Annotated[
        list[str] | None,
        typer.Option(
            help="Another look at the models, e.g. layers; see `bitproof list analyses`.", rich_help_panel=METHOD
        ),
    ] = None,
    tag: Tag = None,
    metric: MetricOption = None,
    store: StoreOption = None,
    report: ReportOption = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only say what would be done, and about how long it takes.", rich_help_panel=OUTPUT
        ),
    ] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Test a model and quantized copies of it under a suite of conditions."""
    files = [weights, *(onnx or []), Path(model)]
    check_output(report, "the report", store, *files, root_of(data), root_of(calibration_data))
    check_store(store, *files)
    device = chosen_device(device)
    from bitproof.conditions import as_crafted, check_names, parse_universal
    from bitproof.conditions.suites import conditions_of
    from bitproof.core.copying import moved
    from bitproof.defences import parse_defence
    from bitproof.judging import CRAFTING
    from bitproof.settings import parse
    from bitproof.train import SURROGATES

    schemes = [bitproof.Scheme.parse(text) for text in scheme or []]
    if not onnx and (deployed_mean or deployed_std):
        raise InputError(
            "--deployed-mean or --deployed-std without --deployed",
            rule="they are of the images that files beside MODEL expect",
            remedy="Use --mean and --std for MODEL",
        )
    if ptq is not None and not schemes:
        raise InputError(
            f"--ptq {ptq} without --scheme",
            rule="the pipeline makes the quantized copies",
            remedy="Add a scheme, such as --scheme w8a8",
        )
    tags = tags_of(tag)
    for text in metric or []:
        bitproof.metrics.add_metric(text)
    labels = [label_of(wanted, ptq) for wanted in schemes]
    defences = [parse_defence(text) for text in defence or []]
    conditions = [bitproof.experiment.parse_condition(text) for text in condition or []]
    attacks = [as_crafted(text) for text in transfer or []]
    makers = [parse_universal(text) for text in universal or []]
    if surrogate is not None and not attacks:
        raise InputError(
            f"--surrogate {surrogate} without --transfer",
            rule="it is a source of images for the other models",
            remedy="Add an attack, such as --transfer pgd:eps=2/255",
        )
    source = parse(surrogate, SURROGATES, "surrogate") if surrogate is not None else None
    analyses = [bitproof.experiment.as_analysis(text) for text in analysis or []]
    lookup(CRAFTING, crafting, "way to make attacks")
    framing = {"model": model, "input_size": input_size}
    examples = load_examples(data, split, limit, sample=sample, seed=seed, class_list=class_list, **framing)
    if suite is not None or not (conditions or attacks or makers):
        conditions_of("quick" if suite is None else suite, examples)
    calibration = examples  # whose first images show which layers are first and last
    besides = ptq is not None or any(d.needs_clean for d in defences) or bool(makers) or source is not None
    if besides or any(w.needs_calibration for w in schemes):
        calibration = calibration_images(
            data, calibration_data, calibration_count, examples.shape, split, avoidable=not besides, **framing
        )
    of_twin = names_network(twin) and bitproof.deploy.is_deployed(model)
    own = (None, None) if of_twin else (weights, classes)
    original = moved(open_model(model, *own, examples, seed, mean=mean, std=std, trust=trust), device)
    opened = [open_deployed(file, mean=deployed_mean, std=deployed_std, trust=trust) for file in onnx or []]
    tested = _named(model, original, onnx or [], opened)
    for name in list(tested)[1:]:
        check_fit(tested[name], examples, name)
    if twin is not None:
        tested = twinned(tested, twin, original, weights, classes, examples, mean=mean, std=std)
    names = [*tested, *labels, *(["surrogate"] if source else [])]
    check_distinct(names)
    for planned in (*conditions, *attacks):
        check_names(planned, names, examples.classes)
    with keeping(kept_in(store), store):
        for wanted in schemes:
            seen = under_noise(calibration, calibration_noise, seed) if wanted.needs_calibration else calibration
            label, quantized = quantized_copy(original, wanted, ptq, seen, seed)
            tested[label] = quantized
        if makers:
            first = next(iter(tested))
            made = (replace(maker, name=maker.name or first) for maker in makers)
            conditions += [maker(tested[first], calibration, seed=seed) for maker in made]
        if source is not None:
            tested["surrogate"] = source(original, calibration, seed=seed)
        tested |= defended(tested, defences, calibration)
        models = {name: bitproof.tagged(model, **tags) for name, model in tested.items()} if tags else tested
        wanted = {"suite": suite, "conditions": conditions, "transfer": attacks, "seed": seed, "batch_size": batch_size}
        wanted |= {"independent": independent, "crafting": crafting, "workers": workers, "jobs": jobs}
        wanted |= {"executor": executor, "address": address}
        if dry_run:
            wanted["analyses"] = (*analyses, *((bitproof.experiment.Masking(),) if diagnose else ()))
            print_estimate(bitproof.experiment.experiment_of(models, examples, **wanted), store)
            return
        progress = not (quiet or json)
        looks = {"diagnose": diagnose, "analyses": analyses}
        result = bitproof.evaluate(models, examples, store=store, progress=progress, **looks, **wanted)
    if json:
        print_json(result)
    elif not quiet:
        print_result(result)
    if report:
        path = result.report(report)
        if progress:
            print(f"\nreport: {path}")


def _named(model: str, original: Any, files: list[Path], opened: list[Any]) -> dict[str, Any]:
    """The models that are there already, by name: what is quantized is called so, a file by its name, or by its path
    where several have that name.

    Raises:
        InputError: a file that is given twice.
    """
    own_scheme = getattr(original, "scheme", None)
    deployed = bitproof.deploy.is_deployed(model)
    given = [Path(model), *files] if deployed else files
    often = Counter(path.name for path in given)
    names = [path.name if often[path.name] == 1 else str(path) for path in given]
    if not deployed:
        names.insert(0, own_scheme.label if own_scheme else "float")
    check_distinct(names)
    return dict(zip(names, [original, *opened], strict=True))
