"""What several commands do: open models and data, quantize, print results."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

import bitproof
from bitproof.cli.checks import check_fit
from bitproof.errors import InputError


def load_examples(text: str, split: str, limit: int | None) -> Any:
    name, root, options = bitproof.data.parse_data(text)
    return bitproof.load_data(name, root=root, split=split, limit=limit, **options)


def root_of(text: str | None) -> str | None:
    """The folder that data are read from, if they are read from one."""
    return bitproof.data.parse_data(text)[1] if text is not None else None


def calibration_images(data: str, calibration_data: str | None, count: int, shape: tuple[int, ...], split: str) -> Any:
    if calibration_data is None and data.startswith("folder:"):
        raise InputError(
            f"no calibration images for {data!r}",
            rule="a folder has no train split, and models are not calibrated on what they are tested on",
            remedy="Pass --calibration-data folder:OTHER, or a scheme with float activations such as w8a32",
        )
    if calibration_data in (None, data) and (split == "train" or data.startswith("folder:")):
        raise InputError(
            f"--calibration-data {data}" if calibration_data else f"--split {split} of {data}",
            rule="models are not calibrated on what they are tested on",
            remedy="Calibrate on other images: --calibration-data folder:OTHER or --split test, or use a scheme with "
            "float activations such as w32a32",
        )
    images = load_examples(calibration_data or data, "train", count)
    if images.shape != shape:
        raise InputError(
            f"--calibration-data {calibration_data} has images of shape {images.shape}",
            rule=f"models are calibrated on images like those that they are tested on, of shape {shape}",
            remedy="Use data of this size",
        )
    return images


def open_model(
    name: str, weights: Path | None, classes: int | None, data: Any, seed: int = 0, *, trust: bool = False
) -> Any:
    """The model that is named, asked about the first of the data, if there are any; a note says where it is random."""
    deployed = bitproof.deploy.is_deployed(name)
    if deployed and weights is None:
        if classes is not None:
            raise InputError(
                f"--classes {classes} with {name!r}", rule="a deployed file has its outputs", remedy="Leave it out"
            )
        model = bitproof.deploy.load_deployed(name, trust=trust)
    else:
        model = bitproof.load_model(name, weights=weights, classes=classes, seed=seed)
    if data is not None:
        check_fit(model, data, name)
    if weights is None and not deployed:
        model.origin = {"weights": "random", "seed": seed}  # pyright: ignore - what results say of it
        typer.secho("note: no --weights, so the model has random ones", err=True)
    return model


@contextmanager
def keeping(what: str) -> Iterator[None]:
    """Work after which a stop is answered with what is kept of it."""
    try:
        yield
    except BaseException as stop:  # other people's code turns it into what it likes
        stop.add_note(what)
        raise


def kept_in(store: Path | None) -> str:
    """What a stop of an experiment is answered with."""
    if store is None:
        return "without --store nothing is kept"
    return f"finished results are in {store}, the same command goes on from there"


def label_of(scheme: Any, ptq: str | None) -> str:
    """What a quantized copy is called."""
    return scheme.label if ptq is None else bitproof.ptq.PostTraining.parse(ptq, scheme).label


def quantized_copy(model: Any, scheme: Any, ptq: str | None, calibration: Any) -> tuple[str, Any]:
    """The quantized copy and what to call it: by the pipeline if there is one, else by rounding to nearest alone."""
    label = label_of(scheme, ptq)
    if ptq is None:
        return label, bitproof.quantize(model, scheme, calibration)
    pipeline = bitproof.ptq.PostTraining.parse(ptq, scheme)
    return label, pipeline(model, calibration)


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
