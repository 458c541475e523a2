"""TensorFlow Lite files, run by LiteRT, as models under test.

Its kernels run on the CPU with XNNPACK, as LiteRT does by itself. A file has no gradients that could be read here:
`Twin` takes those of the float model that it came from.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitproof.core.cpu import integer_instructions
from bitproof.deploy.bits import litert_scheme
from bitproof.deploy.codes import Stored, litert_codes
from bitproof.deploy.formats import CODES, ImageFormat, is_channels_last
from bitproof.deploy.needs import content_of, need
from bitproof.deploy.session import Session
from bitproof.errors import InputError
from bitproof.reading import refusing

_SOFTMAX, _PASSING = 25, (6, 22, 43, 114)
"""LiteRT's numbers of operators: softmax; dequantize, reshape, squeeze and quantize, which may stand behind it."""


class LiteRtModel(Session):
    """A TensorFlow Lite file in a LiteRT interpreter (see `Session`); codes of logits become logits.

    Args:
        content: the file.

    Raises:
        InputError: the file is damaged, needs an operator that LiteRT lacks, or is no classifier of images.
    """

    runtime = "LiteRT"
    kind = "TFLite"
    file: Tensor

    def __init__(self, content: bytes) -> None:
        super().__init__()
        need("ai_edge_litert", extra="tflite")
        self.hold(file=content)
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
        self.given, self.made = inputs[0]["index"], outputs[0]
        last = is_channels_last(tuple(sizes))
        image_format = ImageFormat.of(taken[0], scale or None, int(zero_point), channels_last=last)
        self.takes(max(batch, 1), tuple(sizes), image_format)
        with _opening():
            model = _read(content)
            self.scheme = litert_scheme(model)
            self.probabilities = _ends_in_softmax(model, outputs[0]["index"])
        self.eval()

    def compute(self, given: NDArray[Any]) -> NDArray[np.float32]:
        self.interpreter.set_tensor(self.given, given)
        self.interpreter.invoke()
        made = self.interpreter.get_tensor(self.made["index"]).astype(np.float32)
        scale, zero_point = self.made["quantization"]
        return (made - zero_point) * scale if scale else made

    def codes(self) -> list[Stored]:
        return list(litert_codes(_read(self.file.numpy().tobytes()), self.interpreter))

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
