"""The weights that a deployed file holds as codes, and what they stand for; read out of it, without running it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.deploy.integer_operators import along, dequantize

SCALED = {"QLinearConv": 0, "QLinearMatMul": -1, "QGemm": 0}
"""ONNX's operators whose weight is their fourth input, before its scale and zero point, and the axis along which these
may differ; of QGemm the first where it takes the weight transposed, as is usual."""

DYNAMIC = ("MatMulInteger", "ConvInteger")
"""Those whose sums are brought to scale by what follows them."""

LAYERS = {3: (0, 3, 1, 2), 4: (3, 0, 1, 2), 9: (0, 1)}
"""TFLite's convolutions, depthwise ones and linear layers, with where the axes of their weights lie in torch's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """One weight of a deployed model.

    Attributes:
        name: of its layer, where that is the float model's; "" where files name it as they like.
        level: float32 [out, ...], what its codes stand for.
        step: the scale, which broadcasts against it.
    """

    name: str = ""
    level: Float[Tensor, "out ..."]
    step: Float[Tensor, "..."]


def onnx_codes(proto: Any) -> Iterator[Stored]:
    """The weights of an ONNX model that are codes, in the order of its nodes."""
    from onnx import helper, inliner, numpy_helper

    graph = (inliner.inline_local_functions(proto) if proto.functions else proto).graph
    attributes = [{a.name: helper.get_attribute_value(a) for a in node.attribute} for node in graph.node]
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node, of in zip(graph.node, attributes, strict=True):
        if node.op_type == "Constant" and "value" in of:
            tensors[node.output[0]] = of["value"]

    def constant(names: list[str]) -> list[Tensor | None]:
        read = (numpy_helper.to_array(tensors[name]) if name in tensors else None for name in names)
        return [None if x is None else torch.from_numpy(np.array(x, np.float32)) for x in read]

    for node, of in zip(graph.node, attributes, strict=True):
        names = [*node.input, "", ""]
        if node.op_type == "DequantizeLinear":
            axis = of.get("axis", 1)
            codes, scale, zero = constant(names[:3])
            if codes is not None and scale is not None and scale.dim() == codes.dim() > 1:  # a scale a block
                size = of.get("block_size", 1)
                scale, zero = (x if x is None else x.repeat_interleave(size, axis) for x in (scale, zero))
        elif node.op_type in SCALED:
            axis = -1 if node.op_type == "QGemm" and not of.get("transB", 0) else SCALED[node.op_type]
            codes, scale, zero = constant(names[3:6])
        elif node.op_type in DYNAMIC:
            axis = 0 if node.op_type == "ConvInteger" else -1
            codes, zero, scale = constant([names[1], names[3], _scale_of(graph, node.output[0], tensors)])
        else:
            continue
        if codes is not None and scale is not None and codes.dim() >= 2:
            if scale.dim() == codes.dim():
                yield Stored(level=(codes if zero is None else codes - zero) * scale, step=scale)
            else:
                level = dequantize(codes, scale, zero, axis=axis)
                yield Stored(level=level, step=along(scale, codes, axis))


def _scale_of(graph: Any, sums: str, tensors: Mapping[str, Any]) -> str:
    """The constant that sums are multiplied by, alone or in a product with the scale that is found in the inputs."""
    makers = {name: node for node in graph.node for name in node.output}
    readers = {name: node for node in graph.node for name in node.input}
    node = readers.get(sums)
    while node is not None and node.op_type == "Cast":
        node = readers.get(node.output[0])
    if node is None or node.op_type != "Mul":
        return ""
    found = list(node.input)
    found += [
        name for given in node.input if (maker := makers.get(given)) and maker.op_type == "Mul" for name in maker.input
    ]
    return next((name for name in found if name in tensors), "")


def litert_codes(model: Any, interpreter: Any) -> Iterator[Stored]:
    """The weights of a TFLite model that are codes, in the order of its operators, with torch's order of axes.

    Args:
        model: as its schema reads it.
        interpreter: one that has opened it.
    """
    graph = model.Subgraphs(0)
    details = {part["index"]: part for part in interpreter.get_tensor_details()}
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        order = LAYERS.get(model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode())
        weight = details.get(int(operator.Inputs(1))) if order else None
        if order is None or weight is None or np.dtype(weight["dtype"]).kind not in "iu":
            continue
        grid = weight["quantization_parameters"]
        scale, zero = (torch.from_numpy(np.array(grid[name], np.float32)) for name in ("scales", "zero_points"))
        codes = torch.from_numpy(np.array(interpreter.get_tensor(weight["index"]), np.float32))
        if scale.numel():
            axis = int(grid["quantized_dimension"])
            level, step = dequantize(codes, scale, zero, axis=axis), along(scale, codes, axis)
            yield Stored(level=level.permute(order), step=step.permute(order) if step.dim() else step)
