"""`bitproof audit`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

import bitproof
from bitproof.cli.checks import check_apart, check_output, check_store
from bitproof.cli.common import (
    calibration_images,
    chosen_device,
    keeping,
    kept_in,
    load_examples,
    naming,
    open_claimed,
    open_model,
    root_of,
)
from bitproof.cli.options import (
    DATA,
    METHOD,
    OUTPUT,
    BatchSize,
    CalibrationCount,
    CalibrationData,
    Claimed,
    Classes,
    ClassList,
    DataOption,
    Device,
    InputSize,
    Json,
    Mean,
    Model,
    Quiet,
    ReportOption,
    Sample,
    Seed,
    Split,
    Std,
    StoreOption,
    Unlabelled,
    Weights,
)
from bitproof.errors import InputError, lookup
from bitproof.files import written

CODES = {"clean": 0, "suspicious": 1, "undecided": 3}
"""What the command exits with; 2 is an error."""

FAILING = {"undecided": ("suspicious", "undecided"), "suspicious": ("suspicious",)}
"""Verdicts that are failures, by what --fail-on says."""


def audit(
    model: Model,
    data: DataOption,
    weights: Weights = None,
    mean: Mean = None,
    std: Std = None,
    classes: Classes = None,
    input_size: InputSize = None,
    class_list: ClassList = None,
    deployed: Claimed = None,
    scheme: Annotated[
        list[str] | None,
        typer.Option(
            help="How it will be quantized, e.g. w8a8.", show_default="six common ones", rich_help_panel=METHOD
        ),
    ] = None,
    folded: Annotated[
        bool,
        typer.Option("--folded", help="BatchNorm is folded before the model is quantized.", rich_help_panel=METHOD),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Ask less, with fewer draws and images.", rich_help_panel=METHOD)
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="Folder of clean checkpoints of MODEL, 19 at least, in place of those that come with bitproof.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    split: Split = "test",
    limit: Annotated[int, typer.Option(min=1, help="Use the first so many images only.", rich_help_panel=DATA)] = 500,
    sample: Sample = None,
    unlabelled: Unlabelled = False,
    calibration_data: CalibrationData = None,
    calibration_count: CalibrationCount = 512,
    seed: Seed = 0,
    batch_size: BatchSize = 128,
    device: Device = "auto",
    fail_on: Annotated[
        str,
        typer.Option(
            help="suspicious, or undecided: what is not 0 as exit code, from there upwards.", rich_help_panel=OUTPUT
        ),
    ] = "undecided",
    store: StoreOption = None,
    report: ReportOption = None,
    sarif: Annotated[
        Path | None, typer.Option(help="Write SARIF 2.1.0 here, for code scanning.", rich_help_panel=OUTPUT)
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.", rich_help_panel=OUTPUT)] = None,
    cyclonedx: Annotated[
        Path | None, typer.Option(help="Write a CycloneDX model card here.", rich_help_panel=OUTPUT)
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write a Markdown summary here.", rich_help_panel=OUTPUT)
    ] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Is this checkpoint safe to quantize, and is this deployed model what it claims to be? Exit code 0 clean, 1
    suspicious, 3 undecided, 2 for errors."""
    failing = lookup(FAILING, fail_on, "verdict to fail on")
    files = [weights, deployed, Path(model)]
    outputs = {"report": report, "SARIF file": sarif, "JUnit file": junit}
    outputs |= {"model card": cyclonedx, "summary": markdown}
    for what, path in outputs.items():
        check_output(path, f"the {what}", store, *files, root_of(data), root_of(calibration_data))
    check_apart(outputs)
    check_store(store, *files)
    device = chosen_device(device)
    from bitproof.core.copying import moved
    from bitproof.experiment.auditing import SCHEMES, audit_model
    from bitproof.report import verdicts

    wanted = scheme or (SCHEMES if deployed is None else ())
    schemes = [bitproof.Scheme.parse(text) for text in wanted]
    framing = {"model": model, "input_size": input_size}
    examples = load_examples(
        data, split, limit if sample is None else None, sample=sample, seed=seed, class_list=class_list, **framing
    )
    calibration = examples
    if any(planned.needs_calibration for planned in schemes):
        calibration = calibration_images(data, calibration_data, calibration_count, examples.shape, split, **framing)
    opening: dict[str, Any] = {"mean": mean, "std": std}
    network = moved(open_model(model, weights, classes, examples, seed, **opening), device)
    with keeping(kept_in(store), store):
        found = audit_model(
            network,
            examples,
            calibration,
            schemes=schemes,
            deployed=None if deployed is None else open_claimed(deployed, model, classes, examples, **opening),
            quick=quick,
            clean={} if calibrate is None else _clean(calibrate, model, classes, examples, opening, device),
            labelled=not unlabelled,
            folded=folded,
            seed=seed,
            batch_size=batch_size,
            store=store,
            progress=not (quiet or json),
            tell=(lambda _: None) if quiet or json else _tell,
            name=weights.name if weights else model,
        )
    version = bitproof.__version__
    texts = {
        "SARIF file": lambda: verdicts.sarif(found, path=_place(weights, model), version=version),
        "JUnit file": lambda: verdicts.junit(found),
        "model card": lambda: verdicts.cyclonedx(found, version=version),
        "summary": lambda: verdicts.markdown(found),
    }
    for what, make in texts.items():
        if (path := outputs[what]) is not None:
            with written(path, f"the {what}") as draft:
                draft.write_text(make(), encoding="utf-8")
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as page:
            page.write(verdicts.markdown(found))
    if report is not None:
        bitproof.write_report([found], report, title="bitproof audit")
    if json:
        print(verdicts.as_json(found), end="")
    elif not quiet:
        print(f"{found.verdict}: {found.sentence}\n{found.advice}\n{verdicts.basis(found)}")
        print(*(f"note: {note}\n" for note in verdicts.notes(found)), sep="", end="")
    raise typer.Exit(CODES[found.verdict] if found.verdict in failing else 0)


def _place(weights: Path | None, model: str) -> str:
    """Where the model's file lies, from here where it lies below, as code scanning wants it."""
    file = Path(weights or model)
    inside = file.resolve().is_relative_to(Path.cwd())
    return file.resolve().relative_to(Path.cwd()).as_posix() if inside else file.as_posix()


def _tell(evidence: Any) -> None:
    """Each evidence as it is found, so that a stop leaves something behind."""
    print(f"- {evidence.name} ({evidence.says or 'to be read beside others'}): {evidence.sentence}", flush=True)


def _clean(
    folder: Path, model: str, classes: int | None, examples: Any, opening: dict[str, Any], device: str
) -> dict[str, Any]:
    """The float models in a folder of checkpoints, by the names of their files.

    Raises:
        InputError: a folder without any, or a file that holds none like the audited one.
    """
    from bitproof.core.copying import moved
    from bitproof.subjects import Subject

    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        raise InputError(
            f"no checkpoints in {str(folder)!r}",
            rule="an audit is calibrated on clean models of the same architecture, .safetensors files in a folder",
            remedy="Put some there, 19 at least, or leave --calibrate out",
        )
    found = {}
    for file in files:
        with naming(file):
            opened = open_model(model, file, classes, examples, **opening)
        if Subject.of(opened).scheme is not None:
            raise InputError(
                f"{str(file)!r} is quantized",
                rule="clean models are audited as the float model is",
                remedy="Put the float model there that it was made from",
            )
        found[file.name] = moved(opened, device)
    return found
