"""The command line: reads arguments, calls the library, prints what comes back."""

import contextlib
import dataclasses
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import bitproof
from bitproof.errors import InputError, lookup

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Is your quantized image classifier still accurate, robust and trustworthy? Measure it, with evidence.",
)

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="resnet20, timm:NAME, FILE.onnx; see `bitproof list models`.")
]
Weights = Annotated[Path | None, typer.Option(help="Safetensors file, PyTorch state dict, or quantized checkpoint.")]
DataOption = Annotated[
    str, typer.Option("--data", help="digits, cifar10:ROOT, imagenet:ROOT[,size=224] or folder:ROOT[,size=224].")
]
Limit = Annotated[int | None, typer.Option(help="Use the first so many examples only.")]
CalibrationData = Annotated[str | None, typer.Option(help="Calibration images, as --data; default: its train split.")]
CalibrationCount = Annotated[int, typer.Option(help="Number of calibration images.")]
Classes = Annotated[int | None, typer.Option(help="Number of outputs, where it is not the architecture's own.")]
PTQ = Annotated[
    str | None,
    typer.Option(
        help="Post-training pipeline for the schemes: nearest, adaround or brecq, e.g. brecq:iterations=2000."
    ),
]
StoreOption = Annotated[
    Path | None, typer.Option("--store", help="SQLite file that keeps results; only what is missing is computed.")
]
ReportOption = Annotated[Path | None, typer.Option("--report", help="Write an HTML report here.")]


def main() -> None:
    """Run the command line; a user's mistake prints one message and exits with code 2."""
    # Threads that wait for work by spinning long slow each other down several times where cores are shared.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    with contextlib.suppress(AttributeError):  # streams replaced by a test have no encoding to set
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    try:
        app()
    except InputError as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == 130:  # how Typer ends on Ctrl-C
            typer.secho("stopped: finished results are in the store, the same command goes on from there", err=True)
        raise
    except BrokenPipeError:  # the reader of a pipe left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"bitproof {bitproof.__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    report: Annotated[Path, typer.Option(help="Where to write the HTML report.")] = Path("report.html"),
    store: StoreOption = None,
) -> None:
    """Show the main job on embedded data: train a small network, quantize it, test it, write a report."""
    from bitproof.experiment.demo import run_demo

    result = run_demo(store=store)
    _print_result(result)
    print(f"\nreport: {result.report(report)}")


@app.command()
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
    diagnose: Annotated[
        bool, typer.Option("--diagnose", help="Also look for masked gradients (about 1,000 passes an example).")
    ] = False,
    store: StoreOption = None,
    report: ReportOption = None,
) -> None:
    """Test a model and quantized copies of it under a suite of conditions."""
    schemes = [bitproof.Scheme.parse(text) for text in scheme or []]
    conditions = [bitproof.experiment.parse_condition(text) for text in condition or []]
    examples = _load(data, split, limit)
    original = _model(model, weights, classes)
    own_scheme: Any = getattr(original, "scheme", None)
    name = own_scheme.label if own_scheme else "float"
    tested = {Path(model).name if model.endswith(".onnx") else name: original}
    for wanted in schemes:
        calibration = None
        if wanted.needs_calibration or ptq:
            calibration = _calibration(data, calibration_data, calibration_count)
        label, quantized = _quantized(original, wanted, ptq, calibration)
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
        diagnose=diagnose,
    )
    _print_result(result)
    if report:
        print(f"\nreport: {result.report(report)}")


@app.command()
def quantize(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="Quantized checkpoint to write (.safetensors).")],
    scheme: Annotated[
        str | None, typer.Option(help="How, e.g. w8a8 or affine:w4a4,act_range=percentile. [default: w8a8]")
    ] = None,
    ptq: PTQ = None,
    weights: Weights = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Calibration images (their train split): digits, cifar10:ROOT, folder:ROOT."),
    ] = None,
    calibration_count: CalibrationCount = 512,
    onnx: Annotated[
        Path | None, typer.Option(help="Also write an ONNX file that runs on integers (extra: deploy).")
    ] = None,
    classes: Classes = None,
) -> None:
    """Quantize a model and save it; `evaluate MODEL --weights FILE` opens it again.

    A checkpoint that is quantized already, as `train` writes them, is taken as it is if there is no --scheme.
    """
    if onnx and data is None:
        raise InputError(
            "--onnx without --data",
            rule="images tell the ranges of an integer model's outputs",
            remedy="Pass calibration images, such as --data digits",
        )
    quantized = _model(model, weights, classes)
    finished = getattr(quantized, "scheme", None) if scheme is None and ptq is None else None
    wanted = finished or bitproof.Scheme.parse(scheme or "w8a8")
    label, calibration = wanted.label, None
    if data is not None and (wanted.needs_calibration or onnx or ptq):
        calibration = _load(data, "train", calibration_count)
    if not finished:
        label, quantized = _quantized(quantized, wanted, ptq, calibration)
    size = bitproof.save_model(quantized, output, architecture=model, classes=classes)
    room = bitproof.deploy.sizes(quantized)
    print(f"{label}: {output} ({size:,} bytes; weights are kept in float until deployment)")
    print(f"in float {room.float_bytes:,} bytes, with packed weights {room.packed_bytes:,}")
    if onnx:
        _deploy(quantized, onnx, calibration)


def _quantized(model: Any, scheme: Any, ptq: str | None, calibration: Any) -> tuple[str, Any]:
    """The quantized copy and what to call it: by the pipeline if there is one, else by rounding to nearest alone."""
    if ptq is None:
        return scheme.label, bitproof.quantize(model, scheme, calibration)
    pipeline = bitproof.ptq.PostTraining.parse(ptq, scheme)
    return pipeline.label, pipeline(model, calibration if calibration is not None else [])


def _deploy(quantized: Any, path: Path, calibration: Any) -> None:
    """Write the ONNX file, and say what it changed and whether the runtime computes what it should."""
    form = bitproof.deploy.integer_form(quantized, calibration)
    size = bitproof.deploy.export_onnx(form, path)
    session = bitproof.deploy.load_onnx(path)
    print(f"{path} ({size:,} bytes; {len(form.layers())} layers on integers, {len(form.added)} further 8-bit grids)")
    for name, model in {"its integer form": form, "the fake-quantized model": quantized}.items():
        a = bitproof.deploy.agreement(model, session, calibration)
        print(
            f"against {name}, on {a.count} calibration images: {a.same} predictions and {a.same_logits} rows of logits "
            f"equal, largest difference {a.largest:.3g} or {a.steps:.3g} steps "
            f"(onnxruntime {a.onnxruntime}, {a.instructions})"
        )


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="How, e.g. lsq or qat:epochs=3; see `bitproof list recipes`.")
    ],
    model: Model,
    data: DataOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for checkpoints, history and state.")],
    scheme: Annotated[str | None, typer.Option(help="For quantization-aware recipes, e.g. lsq:w2a2.")] = None,
    weights: Weights = None,
    limit: Limit = None,
    classes: Classes = None,
    seed: Annotated[int, typer.Option(help="Of all randomness.")] = 0,
) -> None:
    """Train a model on the data's train split, with its quantizers in place if the recipe says so.

    Without --weights it starts from random weights. The same command goes on with a run that was stopped.
    """
    from bitproof.settings import parse

    how = parse(recipe, bitproof.train.RECIPES, "recipe")
    if scheme is not None:
        if not isinstance(how, bitproof.train.QAT):
            raise InputError(
                f"recipe {recipe!r} with --scheme {scheme}",
                rule="only quantization-aware recipes have a scheme",
                remedy="Use qat, lsq, pact or another one of them, or leave --scheme out",
            )
        how = dataclasses.replace(how, scheme=bitproof.Scheme.parse(scheme))
    start = _model(model, weights, classes, seed)
    examples = _load(data, "train", limit)
    bitproof.experiment.train(how, start, examples, output=output, architecture=model, classes=classes, seed=seed)
    print((output / "history.csv").read_text().rstrip())
    print(f"{output}: best.safetensors, last.safetensors, history.csv, history.png")


@app.command()
def report(
    store: Annotated[Path, typer.Argument(help="The store to read; a run may be writing it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file to write.")] = Path("report.html"),
    reference: Annotated[str | None, typer.Option(help="The model to compare with. [default: the float one]")] = None,
) -> None:
    """Write the HTML report of everything in a store."""
    with bitproof.Store(store, readonly=True) as opened:
        environments = list(opened.environments().values())
        path = bitproof.write_report(
            opened.query(),
            output,
            reference=reference,
            environments=environments,
            diagnoses=list(opened.diagnoses().values()),
        )
    print(f"report: {path}")


@app.command()
def export(
    store: Annotated[Path, typer.Argument(help="The store to read; a run may be writing it.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .parquet, .csv or .json.")],
) -> None:
    """Write every example's prediction, one row an example, model and condition; as .json the diagnoses."""
    from bitproof import store as stores

    with bitproof.Store(store, readonly=True) as opened:
        if output.suffix == ".json":
            count, what = stores.export_diagnoses(opened.diagnoses().values(), output), "diagnoses"
        else:
            count, what = stores.export(opened.query(), output), "rows"
    print(f"{output}: {count:,} {what}")


@app.command("list")
def list_names(
    what: Annotated[
        str | None, typer.Argument(help="models, schemes, recipes, data, attacks, shifts or suites.")
    ] = None,
) -> None:
    """What there is, by name."""
    families = _families()
    chosen = families if what is None else {what: lookup(families, what, "family")}
    for family, table in chosen.items():
        print(family)
        width = max(map(len, table))
        for name, text in table.items():
            print(f"  {name:<{width}}  {text}")


def _families() -> dict[str, dict[str, str]]:
    from bitproof.attacks import ATTACKS
    from bitproof.data import DATA
    from bitproof.experiment import SUITES
    from bitproof.models import MODELS
    from bitproof.quant import METHODS
    from bitproof.shifts import CORRUPTIONS, RELEASED, SEQUENCES, SYSTEMATIC
    from bitproof.train import RECIPES

    return {
        "models": {name: _first_line(spec.build) for name, spec in MODELS.items()}
        | {"timm:NAME": "Any timm model (extra: zoo).", "torchvision:NAME": "Any torchvision model (extra: zoo)."},
        "schemes": {f"{name}:wXaY": _scheme_line(method) for name, method in METHODS.items()},
        "recipes": {name: _first_line(build) for name, build in RECIPES.items()},
        "data": {name: _first_line(build) for name, build in DATA.items()},
        "attacks": {name: _first_line(build) for name, build in ATTACKS.items()},
        "shifts": {
            name: _first_line(build) for name, build in {**CORRUPTIONS, **SEQUENCES, **SYSTEMATIC, **RELEASED}.items()
        },
        "suites": {name: _first_line(build) for name, build in SUITES.items()}
        | {"released:ROOT": "All released files of CIFAR-C, ImageNet-C or ImageNet-P in a folder."},
    }


def _scheme_line(method: Any) -> str:
    weights, acts = (
        f"{'-'.join(str(b) for b in sorted({bits[0], bits[-1]}))} or 32 bits" if bits else "float"
        for bits in (method.weight_bits, method.act_bits)
    )
    own = ", ".join(field.name for field in dataclasses.fields(method))
    about = _first_line(method) + (f" Fields: {own}." if own else "")
    return f"{about} Weights {weights}, activations {acts}."


def _first_line(documented: Any) -> str:
    return getattr(documented, "func", documented).__doc__.strip().splitlines()[0]  # .func: what a partial wraps


def _load(text: str, split: str, limit: int | None) -> Any:
    name, root, options = bitproof.data.parse_data(text)
    return bitproof.load_data(name, root=root, split=split, limit=limit, **options)


def _calibration(data: str, calibration_data: str | None, count: int) -> Any:
    if calibration_data is None and data.startswith("folder:"):
        raise InputError(
            f"no calibration images for {data!r}",
            rule="a folder has no train split, and models are not calibrated on what they are tested on",
            remedy="Pass --calibration-data folder:OTHER, or a scheme with float activations such as w8a32",
        )
    return _load(calibration_data or data, "train", count)


def _model(name: str, weights: Path | None, classes: int | None, seed: int = 0) -> Any:
    if name.endswith(".onnx") and weights is None:
        return bitproof.deploy.load_onnx(name)
    model = bitproof.load_model(name, weights=weights, classes=classes, seed=seed)
    if weights is None:
        typer.secho("note: no --weights, so the model has random ones", err=True)
    return model


def _print_result(result: Any) -> None:
    from rich.console import Console

    from bitproof import metrics
    from bitproof.report import text
    from bitproof.report.terminal import comparison, distance_table, masking_table, metrics_table

    console = Console()
    if not console.is_terminal:
        console.width = 200
    console.print(comparison(result.cells, result.reference))
    console.print(metrics_table(result.cells))
    if (distances := distance_table(result.cells)) is not None:
        console.print(distances)
    for row in metrics.same_pixels(result.cells):
        console.print(f"note: {text.same_pixels(row)}", highlight=False)
    for diagnosis in result.diagnoses:
        console.print(masking_table(diagnosis))
    console.print(f"{result.computed} results computed, {result.reused} found in the store", highlight=False)


if __name__ == "__main__":
    main()
