"""OpenVINO's files, an .xml beside its .bin, as models under test.

They run on the CPU, in float32 wherever they hold no grid, and on integers where the processor's are exact: without
VNNI, sums of two products saturate, so there the grids of the file are computed with floats. Importing OpenVINO would
report that to its makers where `openvino_telemetry` is installed; it is imported without.
"""

import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

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
from bitproof.deploy.needs import MOST_IMAGES, SMALLEST, content_of, need
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


class OpenVinoModel(nn.Module):
    """An OpenVINO model on the CPU: images [n, c, h, w] in [0, 1] to logits, for any n.

    It gets images as the file takes them, channels-last, as pixels or codes in 8 bits, in batches of a fixed size; of
    probabilities the logarithm is taken. It has no gradients.

    Args:
        description: the .xml.
        weights: the .bin.

    Attributes:
        taken: how the file takes images.
        shape: (channels, height, width) of its images; None = any.
        probabilities: whether it ends in a softmax.
        scheme: of the bits that are found in it; None = float.
        result_notes: what a result of it has to say of how it was computed.

    Raises:
        InputError: the files are damaged or do not belong together, need an operator that OpenVINO lacks, or are no
            classifier of images.
    """

    differentiable: ClassVar[bool] = False
    description: Tensor
    weights: Tensor

    def __init__(self, description: bytes, weights: bytes) -> None:
        super().__init__()
        openvino = runtime()
        check_xml(description)
        for name, content in (("description", description), ("weights", weights)):
            self.register_buffer(name, torch.from_numpy(np.frombuffer(content, np.uint8).copy()))
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
        self.batch, *sizes = inputs[0].shape
        if (self.batch or 0) > MOST_IMAGES:
            raise InputError(
                f"the OpenVINO model takes {self.batch:,} images at once",
                rule=f"smaller batches are filled up to that number, which may be {MOST_IMAGES:,}",
                remedy="Convert it with a batch of any size",
            )
        with _opening():
            self.taken = image_format(model.inputs[0], KINDS[inputs[0].type], tuple(sizes))
            self.probabilities = ends_in_softmax(model.outputs[self.number])
            self.scheme = ir_scheme(model)
            compiled, self.result_notes = _compiled(openvino, model)
            self.request = compiled.create_infer_request()
        self.shape = (sizes[2], *sizes[:2]) if self.taken.channels_last else tuple(sizes)
        self.eval()

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        if images.requires_grad:
            raise InputError(
                "OpenVINO has no gradients",
                rule="attacks that follow gradients need a model in PyTorch",
                remedy="Attack its twin, with the float model that it came from: --twin NAME, bp.deploy.Twin",
            )
        if any(size not in (None, given) for size, given in zip(self.shape, images.shape[1:], strict=True)):
            raise InputError(
                f"images of shape {tuple(images.shape[1:])}",
                rule=f"the OpenVINO model takes images of shape {self.shape}",
                remedy="Use data of this size, or convert the model for the other one",
            )
        size = self.batch or max(len(images), 1)
        parts = [self._run(part, size) for part in images.detach().cpu().float().split(size)]
        logits = torch.cat(parts).to(images.device)
        return logits.clamp(min=SMALLEST).log() if self.probabilities else logits

    def _run(self, images: Tensor, size: int) -> Tensor:
        """The logits of up to `size` images, in a batch of exactly `size`."""
        full = torch.cat([images, images.new_zeros(size - len(images), *images.shape[1:])])
        with _refusing(
            "cannot run the model",
            rule="the model maps images of the data's shape to logits",
            remedy="Use data of the shape that it takes, or convert it again",
        ):
            given = self.taken(full).to(self.taken.dtype).contiguous().numpy()
            logits = self.request.infer({0: given}, share_inputs=False, share_outputs=False)[self.number]
        if logits.ndim != 2 or len(logits) != size:
            raise InputError(
                f"the OpenVINO model returns {list(logits.shape)} for {size} images",
                rule="a model under test maps images [n, c, h, w] to logits [n, k]",
                remedy="Convert it with the logits as an output",
            )
        return torch.from_numpy(logits)[: len(images)]

    def codes(self) -> list[Stored]:
        """The weights that lie on grids in the file, and what they stand for."""
        openvino = runtime()
        return ir_codes(openvino, _read(openvino, *self._content()))

    def _content(self) -> tuple[bytes, bytes]:
        return self.description.numpy().tobytes(), self.weights.numpy().tobytes()

    def __reduce__(self) -> Any:
        """Copies and pickles hold both files and compile them anew."""
        return OpenVinoModel, self._content()

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
def _refusing(how: str, *, rule: str, remedy: str) -> Iterator[None]:
    """`refusing`, with the reason out of OpenVINO's messages, which begin with places in its own source."""
    with refusing("OpenVINO", rule=rule, remedy=remedy, how=how):
        try:
            yield
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines()]
            reasons = [line for line in lines if line and not line.startswith(("Exception from", "Check '", "While "))]
            raise ValueError(reasons[-1] if reasons else lines[0]) from error


def _opening() -> AbstractContextManager[None]:
    return _refusing(
        "cannot open the file",
        rule="an .xml and its .bin are one complete model of OpenVINO's own operators",
        remedy="Convert it again, and keep both files together",
    )


def _value(output: Any) -> _Value:
    """What is known of an input or an output."""
    shape = output.get_partial_shape()
    sizes = [] if shape.rank.is_dynamic else [None if size.is_dynamic else size.get_length() for size in shape]
    names = output.get_names()
    return _Value("logits" if "logits" in names else min(names, default=""), kind_of(output), tuple(sizes))


def _signature(values: list[_Value]) -> str:
    return ", ".join(f"{value.type} {list(value.shape)}" for value in values) or "nothing"
