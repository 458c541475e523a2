"""What several commands do: open models and data, quantize, print results."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

import bitproof
from bitproof.cli.checks import check_deployed, check_fit
from bitproof.errors import InputError


def load_examples(
    text: str,
    split: str,
    limit: int | None,
    *,
    sample: int | None = None,
    seed: int = 0,
    model: str | None = None,
    input_size: int | None = None,
    class_list: Path | None = None,
) -> Any:
    """The data that are named, framed as the network's zoo has it where neither the text nor `input_size` says how."""
    name, root, options = bitproof.data.parse_data(text)
    if input_size is not None:
        if not bitproof.data.takes(name, "size"):
            raise InputError(
                f"--input-size {input_size} with {text}",
                rule=f"the images of {name} have one size",
                remedy="Leave it out",
            )
        if options.setdefault("size", input_size) != input_size:
            raise InputError(
                f"--input-size {input_size} with {text}", rule="a size is said once", remedy="Leave one of them out"
            )
    if class_list is not None:
        if not bitproof.data.takes(name, "classes"):
            raise InputError(
                f"--class-list {class_list} with {text}", rule=f"the classes of {name} are known", remedy="Leave it out"
            )
        options["classes"] = class_list
    usual = bitproof.models.preprocessing(model) if model and bitproof.data.takes(name, "size") else {}
    if usual and "size" in options:  # the same part of the picture
        usual["shorter"] = round(options["size"] * usual["shorter"] / usual["size"])
    part = {"limit": limit, "sample": sample, "seed": seed}
    return bitproof.load_data(name, root=root, split=split, **part, **{**usual, **options})


def numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """A number a channel, as `0.49,0.48,0.45` or `125/255,123/255,114/255`.

    Raises:
        InputError: something that is no number.
    """
    if text is None:
        return None
    try:
        parts = [part.partition("/") for part in text.split(",")]
        return tuple(float(above) / float(below) if slash else float(above) for above, slash, below in parts)
    except (ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"{option} {text}", rule="it is a number a channel, joined by commas", remedy="Write 0.49,0.48,0.45"
        ) from error


def root_of(text: str | None) -> str | None:
    """The folder that data are read from, if they are read from one."""
    return bitproof.data.parse_data(text)[1] if text is not None else None


def calibration_images(
    data: str,
    calibration_data: str | None,
    count: int,
    shape: tuple[int, ...],
    split: str,
    *,
    model: str | None = None,
    input_size: int | None = None,
    avoidable: bool = True,
) -> Any:
    """Images to calibrate on, others than those of the test.

    Args:
        data, split: what is tested on.
        calibration_data: where they come from; None = the train split of `data`.
        count: of images.
        shape: of each, as of those that are tested on.
        model, input_size: as of `load_examples`.
        avoidable: whether none are needed where all activations are float.

    Raises:
        InputError: none, or the same ones, or of another shape.
    """
    or_float = ", or use a scheme with float activations such as w8a32" if avoidable else ""
    same = calibration_data is None or bitproof.data.share_files(data, calibration_data)
    undivided = same and _is_undivided(data, split)
    kind = data.partition(":")[0]
    if calibration_data is None and undivided:
        raise InputError(
            f"no calibration images for {data!r}",
            rule=f"this {kind} has no train split, and models are not calibrated on what they are tested on",
            remedy=f"Pass --calibration-data {kind}:OTHER{or_float}",
        )
    if undivided or (same and split == "train"):
        raise InputError(
            f"--calibration-data {calibration_data}" if calibration_data else f"--split {split} of {data}",
            rule="models are not calibrated on what they are tested on",
            remedy=f"Calibrate on other images: --calibration-data folder:OTHER or --split test{or_float}",
        )
    images = load_examples(calibration_data or data, "train", count, model=model, input_size=input_size)
    if images.shape != shape:
        raise InputError(
            f"--calibration-data {calibration_data} has images of shape {images.shape}",
            rule=f"models are calibrated on images like those that they are tested on, of shape {shape}",
            remedy="Use data of this size",
        )
    return images


def _is_undivided(data: str, split: str) -> bool:
    """Whether data are the same whichever split is asked for, as a folder and a table without such a column are."""
    if data.startswith(("csv:", "npz:")) and split != "train":
        tested, trained = (load_examples(data, part, 1).encoded(0) for part in (split, "train"))
        return tested == trained
    return data.startswith(("folder:", "wds:"))


def open_model(
    name: str,
    weights: Path | None,
    classes: int | None,
    data: Any,
    seed: int = 0,
    *,
    mean: str | None = None,
    std: str | None = None,
    trust: bool = False,
) -> Any:
    """The model that is named, asked about the first of the data, if there are any; notes say where it is random, and
    what its zoo says of its preprocessing."""
    deployed = bitproof.deploy.is_deployed(name)
    if deployed and weights is None:
        if classes is not None:
            raise InputError(
                f"--classes {classes} with {name!r}", rule="a deployed file has its outputs", remedy="Leave it out"
            )
        model = open_deployed(name, mean=mean, std=std, trust=trust)
    else:
        means, stds = numbers(mean, "--mean"), numbers(std, "--std")
        model = bitproof.load_model(name, weights=weights, classes=classes, mean=means, std=stds, seed=seed)
        _tell_zoo(name, model, data)
    if data is not None:
        check_fit(model, data, name)
    if weights is None and not deployed and not bitproof.models.brings_weights(name):
        if bitproof.models.is_own(name):  # whose code may read a file of weights
            typer.secho(
                f"note: no --weights, so {name} has what its code gives it: random ones, if it loads none", err=True
            )
            return model
        model.origin = {"weights": "random", "seed": seed}  # pyright: ignore - what results say of it
        typer.secho("note: no --weights, so the model has random ones", err=True)
    return model


def open_deployed(path: str | Path, *, mean: str | None = None, std: str | None = None, trust: bool = False) -> Any:
    """A file of a runtime, behind the normalisation of the images that it expects, where one is given.

    Raises:
        InputError: a file that cannot be opened, one of mean and std alone, or numbers that do not fit.
    """
    means, stds = numbers(mean, "the mean"), numbers(std, "the std")
    model = bitproof.deploy.load_deployed(path, trust=trust)
    if means is None and stds is None:
        return model
    if means is None or stds is None:
        raise InputError(
            "one of mean and std alone", rule="a normalisation has both, a number a channel", remedy="Give both"
        )
    if getattr(getattr(model, "taken", None), "of_pixels", False):
        raise InputError(
            f"mean and std for {str(path)!r}",
            rule="the file takes pixels, in 8 bits, and normalises them itself",
            remedy="Leave them out",
        )
    return bitproof.models.normalized(model, means, stds).eval()


@contextmanager
def naming(file: Path) -> Iterator[None]:
    """What is refused within is said to be about this file, as a command may read several."""
    try:
        yield
    except InputError as error:
        if file.name in error.what:
            raise
        raise InputError(f"{str(file)!r}: {error.what}", rule=error.rule, remedy=error.remedy) from error


def open_claimed(file: Path, model: str, classes: int | None, examples: Any, **opening: Any) -> Any:
    """What claims to be made of a float model: a file of a runtime, or a quantized checkpoint of its network.

    Raises:
        InputError: a file that is none, or one that can run code.
    """
    if file.suffix == ".pt2":
        raise InputError(
            f"{str(file)!r} is a program of torch.export",
            rule="torch runs code that such a file brings, and these may be files of strangers",
            remedy="Pass its weights as safetensors, or an ONNX export",
        )
    if file.suffix == ".safetensors":
        with naming(file):
            return open_model(model, file, classes, examples, **opening)
    check_deployed(file)
    if not bitproof.deploy.is_deployed(file.name):
        raise InputError(
            f"cannot open {file.name!r}",
            rule="what is deployed is an .onnx, .tflite or .xml file, or a quantized checkpoint (.safetensors)",
            remedy="Pass one of these",
        )
    with naming(file):
        opened = bitproof.deploy.load_deployed(file)
        check_fit(opened, examples, file.name)
    return opened


def _tell_zoo(name: str, model: Any, data: Any) -> None:
    """Say what a network's zoo knows of its preprocessing, and what of it is used."""
    spec = bitproof.models.zoo_spec(name)
    if spec is None:
        return
    layer = next(part for part in model.modules() if isinstance(part, bitproof.models.Normalize))
    text = f"note: {spec.source}: {layer.extra_repr()}"
    if data is not None and data.framing.shorter:
        text += f", {data.framing.width} pixels cut from {data.framing.shorter}, {data.framing.resize}"
    typer.secho(text, err=True)


def tags_of(given: list[str] | None) -> dict[str, str | float]:
    """`KEY=VALUE`s, whose values are numbers where they look like some.

    Raises:
        InputError: something else.
    """
    found: dict[str, str | float] = {}
    for text in given or []:
        key, equals, value = text.partition("=")
        if not (key.isidentifier() and equals):
            raise InputError(
                f"--tag {text}", rule="a tag is written KEY=VALUE", remedy="Write for example train_seed=1"
            )
        if key in found:
            raise InputError(
                f"--tag {key} is {found[key]} and {value}",
                rule="a model has one value of each tag",
                remedy="Give one of them, or tags of two names",
            )
        try:
            found[key] = int(value) if value.lstrip("-").isdecimal() else float(value)
        except ValueError:
            found[key] = value
    return found


def chosen_device(text: str) -> str:
    """The device that is named; a note says what "auto" takes beside the CPU.

    Raises:
        InputError: it is not there.
    """
    from bitproof.core.devices import AUTO, device_named

    device = device_named(text)
    if text == AUTO and device.type != "cpu":
        typer.secho(f"note: computed on {device}, as --device auto", err=True)
    return str(device)


@contextmanager
def keeping(what: str, where: Path | None = None) -> Iterator[None]:
    """Work after which a stop is answered with what is kept of it, and where, if there is such a file by then."""
    try:
        yield
    except BaseException as stop:  # other people's code turns it into what it likes
        stop.add_note(what if where is None or where.exists() else "nothing is finished so far")
        raise


def kept_in(store: Path | None) -> str:
    """What a stop of an experiment is answered with."""
    if store is None:
        return "without --store nothing is kept"
    return f"finished results are in {store}, the same command goes on from there"


def under_noise(images: Any, sigma: float | None, seed: int) -> Any:
    """Calibration images as a model under noise sees them; as they are without a sigma."""
    return images if sigma is None else bitproof.quant.UnderNoise(images=images, sigma=sigma, seed=seed)


def label_of(scheme: Any, ptq: str | None) -> str:
    """What a quantized copy is called."""
    return scheme.label if ptq is None else bitproof.ptq.PostTraining.parse(ptq, scheme).label


def quantized_copy(model: Any, scheme: Any, ptq: str | None, calibration: Any, seed: int = 0) -> tuple[str, Any]:
    """The quantized copy and what to call it: by the pipeline if there is one, else by rounding to nearest alone."""
    label = label_of(scheme, ptq)
    if ptq is None:
        return label, bitproof.quantize(model, scheme, calibration, seed=seed)
    pipeline = bitproof.ptq.PostTraining.parse(ptq, scheme)
    return label, pipeline(model, calibration, seed=seed)


def write_onnx(quantized: Any, path: Path, calibration: Any) -> None:
    """Write the ONNX file, and say what it changed and whether the runtime computes what it should."""
    form = bitproof.deploy.integer_form(quantized, calibration)
    size = bitproof.deploy.export_onnx(form, path)
    session = bitproof.deploy.load_onnx(path)
    adding = form.adding()
    print(
        f"{path} ({size:,} bytes; {len(form.layers())} layers, {adding['sums']} sums and {adding['means']} global "
        f"means on integers, {len(form.added)} further 8-bit grids)"
    )
    if form.floats:
        print(f"in float, as they are not called as layers: {', '.join(form.floats)}")
    for name, model in {"its integer form": form, "the fake-quantized model": quantized}.items():
        a = bitproof.deploy.agreement(model, session, calibration)
        print(
            f"against {name}, on {a.count} calibration images: {a.same} predictions and {a.same_logits} rows of logits "
            f"equal, largest difference {a.largest:.3g} or {a.steps:.3g} steps "
            f"(onnxruntime {a.onnxruntime}, {a.instructions})"
        )


def print_result(result: Any) -> None:
    from rich.console import Console

    from bitproof.report import terminal

    console = Console()
    if not console.is_terminal:
        console.width = 200
    for table in terminal.tables(result.records, result.reference):
        console.print(table)
    for note in terminal.notes(result.records):
        console.print(f"note: {note}", highlight=False, markup=False)
    for key, reason in result.damaged.items():
        console.print(f"note: {key[:8]} was damaged and is computed anew: {reason}", highlight=False, markup=False)
    console.print(f"{result.computed} results computed, {result.reused} found in the store", highlight=False)


def print_json(result: Any) -> None:
    """The tables as JSON: one object with a list of rows each, and what a reader of them has to know."""
    import json

    from bitproof.records import Cell
    from bitproof.report import terminal, text

    cells = [record for record in result.records if isinstance(record, Cell)]
    tables = {name: json.loads(getattr(result, name)().to_json(orient="records")) for name in ("table", "summary")}
    tables["defences"] = bitproof.metrics.defences(cells)
    tables["explanations"] = [
        {
            "analysis": found.KIND,
            "title": found.title,
            "model": found.model.name,
            "findings": found.findings,
            "table": json.loads(found.table().to_json(orient="records")),
        }
        for found in result.explanations
    ]
    notes = [*terminal.notes(result.records), *text.remarks(cells)]
    print(json.dumps({**tables, "notes": notes, "computed": result.computed, "reused": result.reused}, indent=2))


def print_estimate(experiment: Any, path: Path | None) -> None:
    """What a run would do, and about how long it takes."""
    stored = path is not None and path.is_file()
    with bitproof.Store(path if stored else None, readonly=stored) as store:
        found = bitproof.experiment.estimate(experiment, store)
    width = max((len(task.label) for task in found.tasks), default=0)
    for task in found.tasks:
        print(f"{task.label:<{width}}  {task.passes:>14,} passes")
    left = f"about {found.seconds / 60:.1f} minutes" if found.seconds > 90 else f"about {found.seconds:.0f} s"
    print(
        f"{sum(task.results for task in found.tasks):,} results to compute, {found.reused:,} found in the store; "
        f"{found.passes:,} passes, {left} at {1000 * found.measured:.2f} ms each, measured on one batch"
    )


def tell_damaged(store: Any) -> None:
    """Say which stored results could not be read."""
    if store.damaged:
        keys = ", ".join(key if key.endswith("...") else key[:8] for key in list(store.damaged)[:5]) + (
            ", ..." if len(store.damaged) > 5 else ""
        )
        pages = any(key.endswith("...") for key in store.damaged)
        lost = (
            "pages of the file are damaged, and results whose keys begin so are lost; a run needs a new store"
            if pages
            else "the command that computed them computes them anew"
        )
        typer.secho(f"note: {len(store.damaged)} stored results are damaged and left out ({keys}): {lost}", err=True)
