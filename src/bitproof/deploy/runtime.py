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
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.cpu import integer_instructions
from bitproof.deploy.bits import onnx_scheme
from bitproof.deploy.codes import Stored, onnx_codes
from bitproof.deploy.formats import chosen_output, ends_in_softmax, input_format
from bitproof.deploy.graph import read_graph
from bitproof.deploy.needs import MOST_IMAGES, SMALLEST, content_of, need
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


class OnnxModel(nn.Module):
    """An ONNX file in an ONNX Runtime session on the CPU: images [n, c, h, w] in [0, 1] to logits, for any n.

    A file may take images channels-last, as pixels or codes in 8 bits, in batches of a fixed size, and may give
    probabilities: it gets what it takes, and of probabilities the logarithm is taken. Where it finds the grid of
    activations anew in each batch (`quantize_dynamic`), images come one by one. It has no gradients (`Twin` has).
    Its printed form, and so its fingerprint, names the runtime's version and the processor's integer instructions,
    because logits may depend on both.

    Args:
        content: the file.

    Attributes:
        scheme: how the model was quantized: the `Scheme` where bitproof wrote the file, else a `FileScheme` of the bits
            that are found in it; None = float.
        step: the most that one code can change a logit (`IntegerForm.step`), in the same case.
        taken: how the file takes images.
        probabilities: whether it ends in a softmax.
        alone: whether images come one by one, as an answer would depend on the others in its batch.

    Raises:
        InputError: the file is damaged, or is no classifier of images.
    """

    differentiable: ClassVar[bool] = False
    file: Tensor

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.session = open_session(content)
        self.register_buffer("file", torch.frombuffer(bytearray(content), dtype=torch.uint8))
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
        self.batch = batch if isinstance(batch, int) and batch > 0 else None
        if (self.batch or 0) > MOST_IMAGES:
            raise InputError(
                f"the ONNX model takes {self.batch:,} images at once",
                rule=f"smaller batches are filled up to that number, which may be {MOST_IMAGES:,}",
                remedy="Export it with a batch of any size",
            )
        sizes = tuple(size if isinstance(size, int) else None for size in shape)
        with _opening():
            graph = self._proto().graph
            self.taken = input_format(graph, self.input, KINDS[taken[0][0]], sizes)
            self.probabilities = ends_in_softmax(graph, self.output)
            found = onnx_scheme(graph)
            self.alone = any(node.op_type == DYNAMIC for node in graph.node)
        self.shape = (sizes[2], *sizes[:2]) if self.taken.channels_last else sizes
        own, self.step = _metadata(self.session)
        self.scheme = own or found
        self.eval()

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        if images.requires_grad:
            raise InputError(
                "an ONNX Runtime session has no gradients",
                rule="attacks that follow gradients need a model in PyTorch",
                remedy="Attack its twin (--twin file, bp.deploy.Twin), or use conditions that need none, such as "
                "--suite shifts",
            )
        if any(size not in (None, given) for size, given in zip(self.shape, images.shape[1:], strict=True)):
            raise InputError(
                f"images of shape {tuple(images.shape[1:])}",
                rule=f"the ONNX model takes images of shape {self.shape}",
                remedy="Use data of this size, or export the model for the other one",
            )
        size = self.at_once(len(images))
        parts = [self._run(part, size) for part in images.detach().cpu().float().split(size)]
        logits = torch.cat(parts).to(images.device)
        return logits.clamp(min=SMALLEST).log() if self.probabilities else logits

    def at_once(self, count: int) -> int:
        """How many of so many images a run takes."""
        return self.batch or (1 if self.alone else max(count, 1))

    def _run(self, images: Tensor, size: int) -> Tensor:
        """The logits of up to `size` images, in a batch of exactly `size`."""
        full = torch.cat([images, images.new_zeros(size - len(images), *images.shape[1:])])
        with refusing(
            "ONNX Runtime",
            rule="the ONNX model maps images of the data's shape to logits",
            remedy="Use data of the shape that it takes, or export it again",
            how="cannot run the model",
        ):
            given = self.taken(full).to(self.taken.dtype).contiguous().numpy()
            (logits,) = self.session.run([self.output], {self.input: given})
        logits = np.ascontiguousarray(logits)
        if logits.ndim != 2 or len(logits) != size:
            raise InputError(
                f"the ONNX model returns {list(logits.shape)} for {size} images",
                rule="a model under test maps images [n, c, h, w] to logits [n, k]",
                remedy="Export it with the logits as the first output",
            )
        return torch.from_numpy(logits)[: len(images)]

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

    def __reduce__(self) -> Any:
        """Copies and pickles hold the file and open a session of their own."""
        return OnnxModel, (self.file.numpy().tobytes(),)

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
