"""A module with gradients out of an ONNX file: its float network, or its exact fake-quantized form.

Where a file holds integers, its own scales and zero points are computed with, in float and with straight-through
gradients. Convolutions, products with weights and batch norms become layers of torch, so that a float file can be
quantized and trained like any network. Operators come from a table; no code of a file is run.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.deploy.formats import ImageFormat
from bitproof.deploy.integer_operators import INTEGER_OPERATORS
from bitproof.deploy.operators import OPERATORS, unknown
from bitproof.reading import refusing

_WITH_OPSET = ("LogSoftmax", "Softmax")
_TABLE: dict[str, Callable[..., Any]] = OPERATORS | INTEGER_OPERATORS


class Operation(nn.Module):
    """One node of a graph.

    Args:
        operator: its name in the table.
        attributes: its attributes.
        inputs: for each of its inputs a constant, None where it is left out, or a name where it is computed.
    """

    def __init__(self, operator: str, attributes: Mapping[str, Any], inputs: list[Any]) -> None:
        super().__init__()
        self.operator = operator
        self.attributes = dict(attributes)
        self.places = [isinstance(value, str) for value in inputs]
        for number, value in enumerate(inputs):
            self.register_buffer(f"constant_{number}", value if isinstance(value, Tensor) else None)

    def forward(self, *computed: Tensor | list[Tensor]) -> Any:
        live = iter(computed)
        given = [
            next(live) if place else getattr(self, f"constant_{number}") for number, place in enumerate(self.places)
        ]
        return _TABLE[self.operator](*given, **self.attributes)

    def extra_repr(self) -> str:
        return f"{self.operator}, {self.attributes}"


class OnnxGraph(nn.Module):
    """What an ONNX file computes, with gradients: images [n, c, h, w] in [0, 1] to logits.

    Attributes:
        steps: a module a node, in order.
        wiring: the names of what each takes and makes.
        taken: how the file takes images.
        alone: whether images come one by one, as a grid is found anew in what is given.
    """

    def __init__(
        self,
        steps: list[nn.Module],
        wiring: list[tuple[tuple[str, ...], tuple[str, ...]]],
        *,
        source: str,
        result: str,
        taken: ImageFormat,
        alone: bool,
    ) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.wiring = wiring
        self.source = source
        self.result = result
        self.taken = taken
        self.alone = alone

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        if self.alone and len(images) > 1:
            return torch.cat([self(image) for image in images.split(1)])
        values: dict[str, Any] = {self.source: self.taken(images)}
        for step, (takes, makes) in zip(self.steps, self.wiring, strict=True):
            made = step(*[values[name] for name in takes])
            values.update(zip(makes, made if isinstance(made, (tuple, list)) else (made,), strict=False))
        return values[self.result]


def read_graph(
    proto: Any, *, source: str, result: str, taken: ImageFormat, batch: int | None, alone: bool = False
) -> OnnxGraph:
    """The module that computes what an ONNX model does.

    Args:
        proto: the model, which ONNX Runtime has opened already.
        source, result: names of the input that takes the images and of the output with the logits.
        taken: how it takes images.
        batch: of how many images it is made for; None = any.
        alone: whether images come one by one.

    Raises:
        InputError: an operator that has no gradient here, or that is used in a way that is not known.
    """
    from onnx import inliner

    with refusing(
        "the ONNX file",
        rule="its operators are used as the standard has them",
        remedy="Give the gradient by the float model that the file came from",
        how="cannot be turned into a module with gradients",
    ):
        if proto.functions:
            proto = inliner.inline_local_functions(proto)
        return _Reader(proto, batch).graph(source, result, taken, alone=alone)


class _Reader:
    """A file while it is read.

    Args:
        proto: the model.
        batch: the number of images that it is fixed to, or None.
    """

    def __init__(self, proto: Any, batch: int | None) -> None:
        from onnx import numpy_helper

        self.batch = batch
        self.opset = max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=1)
        self.nodes = list(proto.graph.node)
        self.tensor = lambda t: torch.from_numpy(numpy_helper.to_array(t).copy())
        self.constants: dict[str, Tensor] = {t.name: self.tensor(t) for t in proto.graph.initializer}
        self.steps: list[nn.Module] = []
        self.wiring: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self.makers: dict[str, nn.Module] = {}
        self.readers = Counter(name for node in self.nodes for name in node.input)
        self.images: set[str] = set()  # names of maps of features, which a batch norm of two dimensions takes

    def graph(self, source: str, result: str, taken: ImageFormat, *, alone: bool) -> OnnxGraph:
        makers = {name: node for node in self.nodes for name in node.output}
        last = makers.get(result)
        for node in self.nodes:
            attributes = self._attributes(node)
            operator = "LogSoftmax" if node is last and node.op_type == "Softmax" else node.op_type
            if operator == "Constant":
                self.constants[node.output[0]] = self._constant(attributes)
                continue
            if operator not in _TABLE:
                raise unknown(node.op_type)
            if operator in _WITH_OPSET:
                attributes["opset"] = self.opset
            if operator == "Split":
                attributes["outputs"] = len(node.output)
            self._add(node, operator, attributes)
        return OnnxGraph(self.steps, self.wiring, source=source, result=result, taken=taken, alone=alone)

    def _add(self, node: Any, operator: str, attributes: dict[str, Any]) -> None:
        """Compute a node of constants now; make a step of any other one."""
        inputs = [self.constants.get(name, name) if name else None for name in node.input]
        if not any(isinstance(value, str) for value in inputs):
            with torch.no_grad():
                made = _TABLE[operator](*inputs, **attributes)
            parts = made if isinstance(made, (tuple, list)) else (made,)
            self.constants.update(zip(node.output, parts, strict=False))
            return
        if operator == "Reshape" and self.batch is not None and isinstance(inputs[1], Tensor):
            inputs[1] = self._any_batch(inputs[1])
        if operator == "Clip" and self._limit(inputs):
            operator, inputs = "Identity", inputs[:1]
        step = self._layer(operator, inputs, attributes) or Operation(operator, attributes, inputs)
        if isinstance(step, nn.Conv2d) or (operator == "Relu" and node.input[0] in self.images):
            self.images.add(node.output[0])
        self.steps.append(step.eval())
        self.makers[node.output[0]] = step
        self.wiring.append((tuple(value for value in inputs if isinstance(value, str)), tuple(node.output)))

    def _limit(self, inputs: list[Any]) -> bool:
        """Make a clip of codes a part of the rounding before it, so that gradients pass the edge of the narrower grid
        as they pass that of any other; whether it was one."""
        step = self.makers.get(inputs[0]) if self.readers[inputs[0]] == 1 else None
        bounds = inputs[1:]
        whole = all(isinstance(bound, Tensor) and not bound.is_floating_point() for bound in bounds)
        if not isinstance(step, Operation) or step.operator != "QuantizeLinear" or len(bounds) != 2 or not whole:
            return False
        step.attributes["limits"] = (int(bounds[0]), int(bounds[1]))
        return True

    def _any_batch(self, shape: Tensor) -> Tensor:
        """A shape that begins with the fixed number of images, for any number of them."""
        if len(shape) > 1 and int(shape[0]) == self.batch:
            return torch.cat([torch.zeros_like(shape[:1]), shape[1:]])
        return shape

    def _layer(self, operator: str, inputs: list[Any], attributes: dict[str, Any]) -> nn.Module | None:
        """The layer of torch that a node is, if it is one."""
        x, *rest = inputs
        if not isinstance(x, str) or not all(value is None or isinstance(value, Tensor) for value in rest):
            return None
        if operator == "Conv":
            return _convolution(attributes, *rest)
        if operator == "Gemm" and not attributes.get("transA"):
            weight = rest[0] if attributes.get("transB") else rest[0].T
            bias = rest[1] if len(rest) > 1 else None
            if bias is None or bias.numel() == len(weight):
                scaled = None if bias is None else attributes.get("beta", 1.0) * bias.reshape(-1)
                return _linear(attributes.get("alpha", 1.0) * weight, scaled)
        if operator == "MatMul" and rest[0].dim() == 2:
            return _linear(rest[0].T, None)
        if operator == "BatchNormalization" and x in self.images:
            return _batch_norm(attributes, *rest)
        return None

    def _attributes(self, node: Any) -> dict[str, Any]:
        from onnx import helper

        found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        tensors = {name: self.tensor(v) for name, v in found.items() if type(v).__name__ == "TensorProto"}
        return found | tensors

    def _constant(self, attributes: dict[str, Any]) -> Tensor:
        (value,) = attributes.values()
        return value if isinstance(value, Tensor) else torch.tensor(value)


def _convolution(a: dict[str, Any], weight: Tensor, bias: Tensor | None = None) -> nn.Module | None:
    axes = weight.dim() - 2
    pads = a.get("pads") or [0] * 2 * axes
    if axes not in (1, 2) or a.get("auto_pad", b"NOTSET") != b"NOTSET" or pads[:axes] != pads[axes:]:
        return None
    ones, groups = [1] * axes, a.get("group", 1)
    layer = (nn.Conv1d if axes == 1 else nn.Conv2d)(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),  # pyright: ignore[reportArgumentType]
        stride=tuple(a.get("strides") or ones),  # pyright: ignore[reportArgumentType]
        padding=tuple(pads[:axes]),  # pyright: ignore[reportArgumentType]
        dilation=tuple(a.get("dilations") or ones),  # pyright: ignore[reportArgumentType]
        groups=groups,
        bias=bias is not None,
    )
    return _filled(layer, weight=weight, bias=bias)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Module:
    return _filled(nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None), weight=weight, bias=bias)


def _batch_norm(a: dict[str, Any], gain: Tensor, shift: Tensor, mean: Tensor, var: Tensor) -> nn.Module:
    layer = nn.BatchNorm2d(len(gain), eps=a.get("epsilon", 1e-5))
    return _filled(layer, weight=gain, bias=shift, running_mean=mean, running_var=var)


def _filled(layer: nn.Module, **tensors: Tensor | None) -> nn.Module:
    layer.load_state_dict({name: t for name, t in tensors.items() if t is not None}, strict=False)
    return layer
