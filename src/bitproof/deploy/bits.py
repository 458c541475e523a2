"""How many bits a file of somebody else's computes with, read from its kinds of tensors."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bitproof.deploy.codes import LAYERS

_ONNX = {2: 8, 3: 8, 4: 16, 5: 16, 21: 4, 22: 4}
"""Bits of ONNX's kinds of integers: uint8, int8, uint16, int16, uint4, int4."""

ON_CODES = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3, "ConvInteger": 1, "MatMulInteger": 1}
"""Operators on codes, with the number of the input that holds the weight."""

_LITERT = {3: 8, 7: 16, 9: 8, 17: 4}
"""The same of TFLite's: uint8, int16, int8, int4."""


@dataclass(frozen=True, kw_only=True)
class FileScheme:
    """What a file says of its quantization; the fewest bits of any layer, 32 = float."""

    weight_bits: int
    act_bits: int

    @property
    def label(self) -> str:
        """For people."""
        return f"w{self.weight_bits}a{self.act_bits}"


def onnx_scheme(graph: Any) -> FileScheme | None:
    """Of an ONNX graph; None where all is float."""
    makers = {name: node for node in graph.node for name in node.output}
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}

    def stored(name: str) -> int:
        """Bits of what a dequantized tensor was."""
        node = makers.get(name)
        if node is None or node.op_type != "DequantizeLinear":
            return 32
        zero = node.input[2] if len(node.input) > 2 else ""
        return _ONNX.get(kinds.get(node.input[0], kinds.get(zero, 2)), 32)

    found = []
    for node in graph.node:
        if node.op_type in ON_CODES:
            found.append((_ONNX.get(kinds.get(node.input[ON_CODES[node.op_type]], 3), 8), 8))
        elif node.op_type in ("Conv", "Gemm", "MatMul") and (node.input[1] in kinds or stored(node.input[1]) < 32):
            found.append((stored(node.input[1]), stored(node.input[0])))
    return fewest(found)


def litert_scheme(model: Any) -> FileScheme | None:
    """Of a TFLite model as its schema reads it; None where all is float."""
    graph = model.Subgraphs(0)
    found = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        if model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode() in LAYERS:
            act, weight = (_LITERT.get(graph.Tensors(operator.Inputs(i)).Type(), 32) for i in (0, 1))
            found.append((weight, act))
    return fewest(found)


def fewest(found: Iterable[tuple[int, int]]) -> FileScheme | None:
    weights, acts = zip(*found, strict=True) if found else ((32,), (32,))
    scheme = FileScheme(weight_bits=min(weights), act_bits=min(acts))
    return None if scheme.label == "w32a32" else scheme
