"""OpenVINO's files, an .xml beside its .bin, as models under test.

They run on the CPU, in float32 wherever they hold no grid, and on integers where the processor's are exact: without
VNNI, sums of two products saturate, so there the grids of the file are computed with floats. Importing OpenVINO would
report that to its makers where `openvino_telemetry` is installed; it is imported without.
"""

import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitproof.core.cpu import integer_instructions
from bitproof.deploy.codes import Stored
from bitproof.deploy.formats import chosen_output
from bitproof.deploy.ir import (
    KINDS,
    LARGEST_XML,
    check_xml,
    ends_in_softmax,
    image_format,
    ir_codes,
    ir_scheme,
    kind_of,
)
from bitproof.deploy.needs import content_of, need
from bitproof.deploy.session import Session
from bitproof.errors import InputError
from bitproof.reading import refusing

INEXACT = (
    "OpenVINO does not take this file with exact products: sums of two may saturate on this processor, as they do "
    "where the file is deployed on such a one"
)
"""What is said of a model that could not be told to be exact, where that matters."""


class _Value(NamedTuple):
    name: str
    type: str
    shape: tuple[int | None, ...]


class OpenVinoModel(Session):
    """An OpenVINO model on the CPU (see `Session`).

    Args:
        description: the .xml.
        weights: the .bin.

    Attributes:
        result_notes: what a result of it has to say of how it was computed.

    Raises:
        InputError: the files are damaged or do not belong together, need an operator that OpenVINO lacks, or are no
            classifier of images.
    """

    runtime = kind = "OpenVINO"
    description: Tensor
    weights: Tensor

    def __init__(self, description: bytes, weights: bytes) -> None:
        super().__init__()
        openvino = runtime()
        check_xml(description)
        self.hold(description=description, weights=weights)
        with _opening():
            model = _read(openvino, description, weights)
            inputs, outputs = (list(map(_value, parts)) for parts in (model.inputs, model.outputs))
            kept = [variable.get_info().variable_id for variable in model.get_variables()]
        if len(inputs) != 1 or inputs[0].type not in KINDS or len(inputs[0].shape) != 4 or kept:
            states = f", and keeps {', '.join(kept)}" if kept else ""
            raise InputError(
                f"the OpenVINO model takes {_signature(inputs)}{states}",
                rule="a model under test maps one tensor of images, f32, u8 or i8, to logits [n, k], and keeps nothing",
                remedy="Convert it with one such input, and the logits as an output",
            )
        self.number = chosen_output(outputs, floats="f32", of="OpenVINO")
        batch, *sizes = inputs[0].shape
        with _opening():
            self.takes(batch, tuple(sizes), image_format(model.inputs[0], KINDS[inputs[0].type], tuple(sizes)))
            self.probabilities = ends_in_softmax(model.outputs[self.number])
            self.scheme = ir_scheme(model)
            compiled, self.result_notes = _compiled(openvino, model)
            self.request = compiled.create_infer_request()
        self.eval()

    def compute(self, given: NDArray[Any]) -> NDArray[np.float32]:
        with _explained():
            return self.request.infer({0: given}, share_inputs=False, share_outputs=False)[self.number]

    def codes(self) -> list[Stored]:
        openvino = runtime()
        return ir_codes(openvino, _read(openvino, *self.held()))

    def extra_repr(self) -> str:
        return f"openvino={runtime().__version__}, instructions={integer_instructions()}"


def load_openvino(path: str | Path) -> OpenVinoModel:
    """Open an OpenVINO model as a model under test, by its .xml; the .bin of the same name lies beside it.

    Extensions are not loaded.

    Raises:
        InputError: one of the files is missing, too large or damaged, the model is no classifier of images, or the
            extra `openvino` is not installed.
    """
    description = content_of(path, "OpenVINO", limit=LARGEST_XML)
    beside = Path(path).with_suffix(".bin")
    if not beside.is_file():
        raise InputError(
            f"there is no {str(beside)!r}",
            rule="an OpenVINO model is two files: its weights lie beside the .xml, in a .bin of the same name",
            remedy="Put the .bin there",
        )
    return OpenVinoModel(description, content_of(beside, "OpenVINO"))


def runtime() -> Any:
    """OpenVINO, imported without its telemetry.

    Raises:
        InputError: it is not installed.
    """
    need("openvino", extra="openvino")
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    name = "openvino_telemetry"
    reporting = sys.modules.get(name)
    sys.modules[name] = None  # pyright: ignore - Python's way to say that there is none
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[name]
        if reporting is not None:
            sys.modules[name] = reporting


def _read(openvino: Any, description: bytes, weights: bytes) -> Any:
    return openvino.Core().read_model(description, weights)


def _compiled(openvino: Any, model: Any) -> tuple[Any, tuple[str, ...]]:
    """The model on the CPU, with as many threads as torch has, and exact products; and a note where they are not."""
    options = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # torch wants the same cores
        "INFERENCE_PRECISION_HINT": "f32",
        "EXECUTION_MODE_HINT": "ACCURACY",
    }
    core = openvino.Core()
    if integer_instructions() in ("avx2", "avx512"):
        with suppress(Exception):
            return core.compile_model(model, "CPU", options | {"LP_TRANSFORMS_MODE": False}), ()
        warnings.warn(INEXACT, stacklevel=3)
        return core.compile_model(model, "CPU", options), (INEXACT,)
    return core.compile_model(model, "CPU", options), ()


@contextmanager
def _explained() -> Iterator[None]:
    """The reason out of OpenVINO's messages, which begin with places in its own source."""
    try:
        yield
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reasons = [line for line in lines if line and not line.startswith(("Exception from", "Check '", "While "))]
        raise ValueError(reasons[-1] if reasons else lines[0]) from error


@contextmanager
def _opening() -> Iterator[None]:
    with (
        refusing(
            "OpenVINO",
            rule="an .xml and its .bin are one complete model of OpenVINO's own operators",
            remedy="Convert it again, and keep both files together",
            how="cannot open the file",
        ),
        _explained(),
    ):
        yield


def _value(output: Any) -> _Value:
    """What is known of an input or an output."""
    shape = output.get_partial_shape()
    sizes = [] if shape.rank.is_dynamic else [None if size.is_dynamic else size.get_length() for size in shape]
    names = output.get_names()
    return _Value("logits" if "logits" in names else min(names, default=""), kind_of(output), tuple(sizes))


def _signature(values: list[_Value]) -> str:
    return ", ".join(f"{value.type} {list(value.shape)}" for value in values) or "nothing"
