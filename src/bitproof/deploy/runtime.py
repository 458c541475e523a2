"""ONNX Runtime sessions as models under test.

On x86 processors without VNNI the product of unsigned and signed 8-bit integers is summed in 16 bits and
saturates; there the session is told to be exact (`session.x64quantprecision`), at the price of some speed.
"""

import json
import math
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitproof.core.cpu import integer_instructions
from bitproof.deploy.bits import onnx_scheme
from bitproof.deploy.codes import Stored, onnx_codes
from bitproof.deploy.formats import chosen_output, ends_in_softmax, input_format
from bitproof.deploy.graph import read_graph
from bitproof.deploy.needs import content_of, need
from bitproof.deploy.session import Session
from bitproof.errors import InputError
from bitproof.quant import Scheme
from bitproof.reading import refusing
from bitproof.settings import build

SATURATING = ("avx2", "avx512")
"""Processors by their integer instructions, whose products saturate unless they are told otherwise."""

METADATA = "bitproof"
"""The key of the metadata that `export_onnx` writes."""

DYNAMIC = "DynamicQuantizeLinear"
"""The operator that finds a grid in the batch that it is given."""

KINDS = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8"}
"""The inputs that a file may have."""

EXACT = "session.x64quantprecision"
"""What a session is told to sum products exactly."""

INEXACT = (
    "ONNX Runtime does not take this file with exact products: sums of two may saturate on this processor, as "
    "they do where the file is deployed on such a one"
)
"""What is said of a session that could not be told so, where that matters."""


class OnnxModel(Session):
    """An ONNX file in an ONNX Runtime session (see `Session`).

    Where it finds the grid of activations anew in each batch (`quantize_dynamic`), images come one by one, as an answer
    would depend on the others in its batch. Its printed form, and so its fingerprint, names the runtime's version and
    the processor's integer instructions, because logits may depend on both.

    Args:
        content: the file.

    Attributes:
        scheme: how the model was quantized: the `Scheme` where bitproof wrote the file, else a `FileScheme` of the bits
            that are found in it; None = float.
        step: the most that one code can change a logit (`IntegerForm.step`), in the same case.

    Raises:
        InputError: the file is damaged, or is no classifier of images.
    """

    runtime = "ONNX Runtime"
    kind = "ONNX"
    file: Tensor

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.session = open_session(content)
        self.hold(file=content)
        with _opening():  # names may be no text
            inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
            taken = [(i.type, len(i.shape)) for i in inputs]
            self.input = inputs[0].name if inputs else ""
        if len(taken) != 1 or taken[0][0] not in KINDS or taken[0][1] != 4:
            raise InputError(
                f"the ONNX model takes {_signature(inputs)} and returns {_signature(outputs)}",
                rule="a model under test maps one tensor of images, float32, uint8 or int8, to float32 logits [n, k]",
                remedy="Export it with one such input, and the logits as the first output",
            )
        self.output = outputs[chosen_output(outputs)].name
        batch, *shape = inputs[0].shape
        sizes = tuple(size if isinstance(size, int) else None for size in shape)
        with _opening():
            graph = self._proto().graph
            image_format = input_format(graph, self.input, KINDS[taken[0][0]], sizes)
            self.probabilities = ends_in_softmax(graph, self.output)
            found = onnx_scheme(graph)
            self.alone = any(node.op_type == DYNAMIC for node in graph.node)
        self.takes(batch if isinstance(batch, int) and batch > 0 else None, sizes, image_format)
        own, self.step = _metadata(self.session)
        self.scheme = own or found
        self.eval()

    def compute(self, given: NDArray[Any]) -> NDArray[np.float32]:
        (logits,) = self.session.run([self.output], {self.input: given})
        return np.ascontiguousarray(logits)

    def graph(self) -> nn.Module:
        """A module in torch that computes the same, with gradients: float, or on the grids that the file has.

        Raises:
            InputError: an operator that has no gradient here.
        """
        return read_graph(
            self._proto(),
            source=self.input,
            result=self.output,
            taken=self.taken,
            batch=self.batch,
            alone=self.alone and not self.batch,
        ).eval()

    def codes(self) -> list[Stored]:
        """The weights that are codes in the file, and what they stand for."""
        return list(onnx_codes(self._proto()))

    def _proto(self) -> Any:
        import onnx

        return onnx.load_from_string(self.file.numpy().tobytes())

    @property
    def result_notes(self) -> tuple[str, ...]:
        """What results say of the session: whether its products may saturate."""
        if integer_instructions() not in SATURATING:
            return ()
        try:
            return () if self.session.get_session_options().get_session_config_entry(EXACT) == "1" else (INEXACT,)
        except RuntimeError:  # it was told nothing
            return (INEXACT,)

    def extra_repr(self) -> str:
        import onnxruntime

        return f"onnxruntime={onnxruntime.__version__}, instructions={integer_instructions()}"


def load_onnx(path: str | Path) -> OnnxModel:
    """Open an ONNX file, of bitproof or from elsewhere, as a model under test.

    Everything has to be inside the file: external data and custom operators are not loaded.

    Raises:
        InputError: the file is missing, too large or damaged, is no classifier of images, or the extra `deploy` is not
            installed.
    """
    return OnnxModel(content_of(path, "ONNX"))


def open_session(content: bytes, *, optimized: Path | None = None) -> Any:
    """A session on the CPU with as many threads as torch has, and exact products.

    Args:
        content: an ONNX file.
        optimized: where to write the graph that will run.

    Raises:
        InputError: ONNX Runtime does not take the file, or is not installed.
    """
    need("onnxruntime", "onnx")
    import onnx
    import onnxruntime

    with _opening():
        outside = next(_outside(onnx.load_from_string(content)), None)
    if outside is not None:
        raise InputError(
            f"the ONNX file keeps {outside!r} outside itself",
            rule="files that a file names are not read",
            remedy="Save it as one file: onnx.save(onnx.load(path), path)",
        )

    def opened(*, exact: bool) -> Any:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised, too
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch wants the same cores
        if exact:
            options.add_session_config_entry(EXACT, "1")
        if optimized is not None:
            options.optimized_model_filepath = str(optimized)
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    if integer_instructions() in SATURATING:
        with suppress(Exception):
            return opened(exact=True)
        with _opening():
            session = opened(exact=False)
        warnings.warn(INEXACT, stacklevel=2)
        return session
    with _opening():
        return opened(exact=False)


def _opening() -> AbstractContextManager[None]:
    return refusing(
        "ONNX Runtime",
        rule="it must be one complete ONNX model of standard operators",
        remedy="Check it with onnx.checker, and export it again",
        how="cannot open the file",
    )


def _outside(message: Any) -> Iterator[str]:
    """Names of tensors in a protobuf message whose values lie in another file: initializers, constants, those of
    branches, loops and functions, wherever ONNX has or will have a place for tensors."""
    if message.DESCRIPTOR.name == "TensorProto" and (message.external_data or message.data_location):
        yield message.name
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else (value,):
                yield from _outside(part)


def _metadata(session: Any) -> tuple[Scheme | None, float | None]:
    """Scheme and step that `export_onnx` noted; None each where it is not its file."""
    with refusing(
        "what the ONNX file says of itself",
        rule="it describes scheme and step as bitproof writes them",
        remedy="Use a file that this version of bitproof wrote, or take out its metadata",
        how="is damaged",
        absorb=True,
    ):
        about = json.loads(session.get_modelmeta().custom_metadata_map.get(METADATA, "{}"))
        step = about.get("step")
        if step is not None and not (isinstance(step, float) and 0 < step < math.inf):
            raise ValueError(f"step is {str(step)[:40]}")
        return build(Scheme, about["scheme"]) if "scheme" in about else None, step


def _signature(values: Any) -> str:
    return ", ".join(f"{value.type} {value.shape}" for value in values) or "nothing"
