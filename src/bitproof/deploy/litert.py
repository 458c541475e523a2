"""TensorFlow Lite files, run by LiteRT, as models under test.

Its kernels run on the CPU with XNNPACK, as LiteRT does by itself. A file has no gradients that could be read here:
`Twin` takes those of the float model that it came from.
"""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.cpu import integer_instructions
from bitproof.deploy.bits import litert_scheme
from bitproof.deploy.codes import Stored, litert_codes
from bitproof.deploy.formats import CODES, ImageFormat, is_channels_last
from bitproof.deploy.needs import SMALLEST, content_of, need
from bitproof.errors import InputError
from bitproof.reading import refusing

_SOFTMAX, _PASSING = 25, (6, 22, 43, 114)
"""LiteRT's numbers of operators: softmax; dequantize, reshape, squeeze and quantize, which may stand behind it."""


class LiteRtModel(nn.Module):
    """A TensorFlow Lite file in a LiteRT interpreter: images [n, c, h, w] in [0, 1] to logits, for any n.

    It gets images as the file takes them: channels-last, floats, or codes by the scale that the file has for them.
    Codes of logits become logits, and of probabilities the logarithm is taken. It has no gradients.

    Args:
        content: the file.

    Attributes:
        taken: how the file takes images.
        shape: (channels, height, width) of its images.
        probabilities: whether it ends in a softmax.
        scheme: of the bits that are found in it; None = float.

    Raises:
        InputError: the file is damaged, needs an operator that LiteRT lacks, or is no classifier of images.
    """

    differentiable: ClassVar[bool] = False
    file: Tensor

    def __init__(self, content: bytes) -> None:
        super().__init__()
        need("ai_edge_litert", extra="tflite")
        self.register_buffer("file", torch.frombuffer(bytearray(content), dtype=torch.uint8))
        with _opening():
            self.interpreter = _opened(content)
            inputs, outputs = self.interpreter.get_input_details(), self.interpreter.get_output_details()
            kinds = [np.dtype(part["dtype"]).name for part in (*inputs, *outputs)]
        taken = kinds[: len(inputs)]
        fits = len(inputs) == 1 and taken[0] in (*CODES, "float32") and len(inputs[0]["shape"]) == 4
        if not fits or len(outputs) != 1 or kinds[-1] not in (*CODES, "float32"):
            raise InputError(
                f"the TFLite model takes {_signature(inputs)} and returns {_signature(outputs)}",
                rule="a model under test maps one tensor of images, float32, uint8 or int8, to logits [n, k]",
                remedy="Convert it with one such input, and the logits as its output",
            )
        batch, *sizes = (int(size) for size in inputs[0]["shape"])
        scale, zero_point = inputs[0]["quantization"]
        self.batch, self.given, self.made = max(batch, 1), inputs[0]["index"], outputs[0]
        last = is_channels_last(tuple(sizes))
        self.taken = ImageFormat.of(taken[0], scale or None, int(zero_point), channels_last=last)
        self.shape = (sizes[2], *sizes[:2]) if last else tuple(sizes)
        with _opening():
            model = _read(content)
            self.scheme = litert_scheme(model)
            self.probabilities = _ends_in_softmax(model, outputs[0]["index"])
        self.eval()

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        if images.requires_grad:
            raise InputError(
                "a LiteRT interpreter has no gradients",
                rule="attacks that follow gradients need a model in PyTorch",
                remedy="Attack its twin, with the float model that it came from: --twin NAME, bp.deploy.Twin",
            )
        if tuple(images.shape[1:]) != self.shape:
            raise InputError(
                f"images of shape {tuple(images.shape[1:])}",
                rule=f"the TFLite model takes images of shape {self.shape}",
                remedy="Use data of this size, or convert the model for the other one",
            )
        parts = [self._run(part) for part in images.detach().cpu().float().split(self.batch)]
        logits = torch.cat(parts).to(images.device)
        return logits.clamp(min=SMALLEST).log() if self.probabilities else logits

    def codes(self) -> list[Stored]:
        """The weights that are codes in the file, with torch's order of axes, and what they stand for."""
        return list(litert_codes(_read(self.file.numpy().tobytes()), self.interpreter))

    def _run(self, images: Tensor) -> Tensor:
        """What the file gives for up to `batch` images, in a batch of exactly that many."""
        full = torch.cat([images, images.new_zeros(self.batch - len(images), *images.shape[1:])])
        with refusing(
            "LiteRT",
            rule="the TFLite model maps images of the data's shape to logits",
            remedy="Use data of the shape that it takes, or convert it again",
            how="cannot run the model",
        ):
            self.interpreter.set_tensor(self.given, self.taken(full).to(self.taken.dtype).contiguous().numpy())
            self.interpreter.invoke()
            made = torch.from_numpy(self.interpreter.get_tensor(self.made["index"]).copy())
        if made.dim() != 2 or len(made) != self.batch:
            raise InputError(
                f"the TFLite model returns {list(made.shape)} for {self.batch} images",
                rule="a model under test maps images [n, c, h, w] to logits [n, k]",
                remedy="Convert it with the logits as its output",
            )
        scale, zero_point = self.made["quantization"]
        return (made.float() - zero_point)[: len(images)] * scale if scale else made[: len(images)].float()

    def __reduce__(self) -> Any:
        """Copies and pickles hold the file and open an interpreter of their own."""
        return LiteRtModel, (self.file.numpy().tobytes(),)

    def extra_repr(self) -> str:
        import ai_edge_litert

        return f"litert={ai_edge_litert.__version__}, instructions={integer_instructions()}"


def load_litert(path: str | Path) -> LiteRtModel:
    """Open a TensorFlow Lite file as a model under test.

    Raises:
        InputError: the file is missing, too large or damaged, is no classifier of images, or the extra `tflite` is not
            installed.
    """
    return LiteRtModel(content_of(path, "TFLite"))


def _opened(content: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=torch.get_num_threads())
    interpreter.allocate_tensors()
    return interpreter


def _read(content: bytes) -> Any:
    from ai_edge_litert.schema_py_generated import Model

    return Model.GetRootAs(content, 0)


def _ends_in_softmax(model: Any, output: int) -> bool:
    graph = model.Subgraphs(0)
    for number in reversed(range(graph.OperatorsLength())):
        operator = graph.Operators(number)
        if output in operator.OutputsAsNumpy():
            kind = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
            if kind not in _PASSING:
                return kind == _SOFTMAX
            output = int(operator.Inputs(0))
    return False


def _opening() -> Any:
    return refusing(
        "LiteRT",
        rule="it must be one complete TFLite model of operators that LiteRT has",
        remedy="Convert it again, without custom operators and without those of TensorFlow itself",
        how="cannot open the file",
    )


def _signature(details: list[dict[str, Any]]) -> str:
    return ", ".join(f"{np.dtype(d['dtype']).name} {list(map(int, d['shape']))}" for d in details) or "nothing"
