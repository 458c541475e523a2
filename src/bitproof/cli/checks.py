"""What is found out before any work: that results can be written, over nothing that is read, and that models fit."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import bitproof
from bitproof.errors import InputError
from bitproof.files import check_folder, check_place

_BESIDE = ("", "-wal", "-shm", "-journal")
"""What belongs to a store beside its file."""

_CHECKPOINTS = ("last.safetensors", "best.safetensors")
"""What a run of training writes over."""

_NOT_DATA = (".html", ".safetensors", ".onnx")
"""Files that may be replaced in a folder that data are read from, as no data set has any."""


SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "the report": (".html", ".htm"),
    "the SARIF file": (".sarif", ".json"),
    "the JUnit file": (".xml",),
    "the model card": (".json",),
    "the summary": (".md", ".markdown"),
    "the Markdown file": (".md", ".markdown"),
    "a checkpoint": (".safetensors",),
    "a quantized model": (".safetensors", ".onnx"),
    "the model": (".onnx",),
    "the export": (".parquet", ".csv", ".json"),
    "a submission": (".json",),
    "a store": (),
}
"""What the names of outputs end with, by what they are: one that reads them goes by it. Any suffix does where none is
named."""


def check_deployed(path: Path) -> None:
    """Check that a deployed file is there.

    Raises:
        InputError: it is not.
    """
    if not path.exists():
        raise InputError(
            f"there is no file {str(path)!r}",
            rule="a deployed model is a file",
            remedy="Pass a .onnx, .tflite or .xml file, or a checkpoint",
        )


def check_output(path: Path | None, what: str, *inputs: Path | str | None) -> None:
    """Refuse an output that could not be written, whose name says that it is something else, or that would be written
    over what is read.

    Args:
        path: the file; None is none.
        what: what it is, one of `SUFFIXES`.
        inputs: files that are read, and folders of data; None is none.

    Raises:
        InputError: such an output.
    """
    if path is None:
        return
    suffixes = SUFFIXES[what]
    _check_over(path, inputs)
    check_place(path, what)
    if suffixes and path.suffix.lower() not in suffixes:
        raise InputError(
            f"cannot write {str(path)!r}",
            rule=f"{what} is a {' or '.join(suffixes)} file",
            remedy=f"Call it {path.stem or 'x'}{suffixes[0]}",
        )


def check_store(path: Path | None, *inputs: Path | str | None) -> None:
    """Refuse a store that could not be written, or a file that is none.

    Raises:
        InputError: such a store.
    """
    if path is None:
        return
    _check_over(path, inputs)
    if path.is_file() and path.stat().st_size:
        bitproof.Store(path).close()
    else:
        check_place(path, "a store")


def check_run_folder(path: Path, weights: Path | None) -> None:
    """Refuse a folder that a run of training could not write to, or that holds the weights which it would write over.

    Raises:
        InputError: such a folder.
    """
    if weights is not None and any(_same(path / name, weights) for name in _CHECKPOINTS):
        raise InputError(
            f"the weights {str(weights)!r} lie in the output folder",
            rule="a run writes its own checkpoints there, over what it starts from",
            remedy="Choose another folder for the output",
        )
    check_folder(path, "a checkpoint")


def check_fit(model: Any, data: Any, name: str) -> None:
    """Ask a model about two images, before it is quantized or trained for hours.

    Raises:
        InputError: a model that cannot take the images, or whose outputs cannot be the classes.
    """
    from bitproof.core.room import Room
    from bitproof.judging.checks import predict_in

    read = data.read(range(min(2, len(data))))
    if len(read.rows):
        predict_in(Room(len(read.rows)), model, read.images, data, name)


def check_distinct(names: Iterable[str]) -> None:
    """Refuse two models of one name.

    Raises:
        InputError: such models.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(
                f"two models are called {name!r}",
                rule="results are told apart by the names of their models",
                remedy="Leave one of them out, or rename its file",
            )
        seen.add(name)


def check_apart(outputs: Mapping[str, Path | None]) -> None:
    """Refuse two outputs, by what they are, in one file.

    Raises:
        InputError: such a pair.
    """
    seen: dict[str, str] = {}
    for what, path in outputs.items():
        if path is not None and (other := seen.setdefault(os.path.realpath(path), what)) != what:
            raise InputError(
                f"{str(path)!r} is to hold the {other} and the {what}",
                rule="each output has a file of its own",
                remedy="Choose another path for one of them",
            )


_CODE = (".py", ".ipynb", ".toml")
"""Files that a model, data or an experiment may come from, and that no output is."""


def _check_over(output: Path, inputs: Iterable[Path | str | None]) -> None:
    if output.suffix in _CODE:
        raise InputError(
            f"{str(output)!r} is a place for code",
            rule="no output is written over code or settings",
            remedy="Choose another path for the output",
        )
    for given in (Path(given) for given in inputs if given is not None):
        read = any(_same(output, Path(f"{given}{end}")) for end in _BESIDE)
        inside = Path(os.path.realpath(given)) in Path(os.path.realpath(output)).parents
        if read or (inside and output.exists() and output.suffix not in _NOT_DATA):
            raise InputError(
                f"{str(output)!r} is read and would be written over",
                rule="no output is one of the inputs",
                remedy="Choose another path for the output",
            )


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are one file, by another name, a link or in another case, be it there or not."""
    if one.exists() and other.exists():
        return one.samefile(other)
    return os.path.realpath(one) == os.path.realpath(other)
