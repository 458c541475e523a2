"""What several commands do: open models and data, quantize, print results."""

from pathlib import Path
from typing import Any

import typer

import bitproof
from bitproof.errors import InputError


def load_examples(text: str, split: str, limit: int | None) -> Any:
    name, root, options = bitproof.data.parse_data(text)
    return bitproof.load_data(name, root=root, split=split, limit=limit, **options)


def calibration_images(data: str, calibration_data: str | None, count: int) -> Any:
    if calibration_data is None and data.startswith("folder:"):
        raise InputError(
            f"no calibration images for {data!r}",
            rule="a folder has no train split, and models are not calibrated on what they are tested on",
            remedy="Pass --calibration-data folder:OTHER, or a scheme with float activations such as w8a32",
        )
    return load_examples(calibration_data or data, "train", count)


def open_model(name: str, weights: Path | None, classes: int | None, seed: int = 0) -> Any:
    if name.endswith(".onnx") and weights is None:
        return bitproof.deploy.load_onnx(name)
    model = bitproof.load_model(name, weights=weights, classes=classes, seed=seed)
    if weights is None:
        typer.secho("note: no --weights, so the model has random ones", err=True)
    return model


def quantized_copy(model: Any, scheme: Any, ptq: str | None, calibration: Any) -> tuple[str, Any]:
    """The quantized copy and what to call it: by the pipeline if there is one, else by rounding to nearest alone."""
    if ptq is None:
        return scheme.label, bitproof.quantize(model, scheme, calibration)
    pipeline = bitproof.ptq.PostTraining.parse(ptq, scheme)
    return pipeline.label, pipeline(model, calibration)


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
    console.print(f"{result.computed} results computed, {result.reused} found in the store", highlight=False)


def check_output(output: Path | None, *inputs: Path | None) -> None:
    """Refuse to write over what is read, be it by another name or a link.

    Raises:
        InputError: the output is one of the inputs.
    """
    for given in inputs:
        if output is None or given is None:
            continue
        same = output.exists() and given.exists() and output.samefile(given)
        if same or output.absolute() == given.absolute():
            raise InputError(
                f"{str(output)!r} is read and would be written over",
                rule="no output is one of the inputs",
                remedy="Choose another path for the output",
            )


def tell_damaged(store: Any) -> None:
    """Say which stored results could not be read."""
    if store.damaged:
        keys = ", ".join(key[:8] for key in list(store.damaged)[:5]) + (", ..." if len(store.damaged) > 5 else "")
        typer.secho(
            f"note: {len(store.damaged)} stored results are damaged and left out ({keys}): "
            "the command that computed them computes them anew",
            err=True,
        )
