"""ONNX files that run on integers, checked in the graph that ONNX Runtime makes of them.

Every quantized layer is written as QuantizeLinear -> DequantizeLinear -> Conv or Gemm -> QuantizeLinear ->
DequantizeLinear, with the weight as int8 codes, which ONNX Runtime fuses into one integer operator. Codes of fewer than
8 bits are kept in 8 bits and clipped as codes, which fuses, where a clip of float values or ONNX's 4-bit types do not.
Whether it did is read off the optimised graph: a model of which a quantized layer would run in float is refused.
"""

import copy
import json
import math
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bitproof.deploy.integer import IntegerForm
from bitproof.deploy.integer_layer import LARGEST_SUM, IntegerLayer
from bitproof.deploy.integer_sum import IntegerMean, IntegerSum
from bitproof.deploy.needs import need
from bitproof.deploy.runtime import METADATA, open_session
from bitproof.errors import InputError
from bitproof.files import written
from bitproof.quant.grid import AffineQuantizer
from bitproof.settings import describe

OPSET = 18
INTEGER_OPERATORS = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "ConvInteger")


def export_onnx(model: nn.Module, path: str | Path) -> int:
    """Write an integer form as an ONNX file; returns its size in bytes.

    The file has one input, `images` [n, c, h, w] in [0, 1] for any n, and one output, `logits`.

    Args:
        model: what `integer_form` returned.
        path: the file, with the suffix .onnx.

    Raises:
        InputError: a model in another form, an operator that ONNX does not have, a quantized layer that ONNX
            Runtime would run in float or whose sums can leave the range of int32, a path that cannot be written, or
            the extra `deploy` is not installed.
    """
    need("onnx", "onnxscript", "onnxruntime")
    path = Path(path)
    if not isinstance(model, IntegerForm):
        raise InputError(
            f"{type(model).__name__} is not in integer form",
            rule="an ONNX file holds integers, with a grid for the output of each convolution",
            remedy="Quantize the model and pass integer_form(quantized, calibration)",
        )
    if path.suffix != ".onnx":
        raise InputError(f"cannot write {path.name!r}", rule="it is an ONNX file", remedy="Give it the suffix .onnx")
    require_room(model)
    proto = _translate(model)
    about = {"scheme": describe(model.scheme), "step": model.step}
    entry = proto.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps(about)
    content = proto.SerializeToString()
    require_integers(content, list(model.layers()), model.adding())
    with written(path, "the ONNX file") as draft:
        draft.write_bytes(content)
    return len(content)


def require_room(model: IntegerForm) -> None:
    """Check that the sums of each layer fit into int32, in which ONNX Runtime adds them up and wraps without a word.

    Raises:
        InputError: those of one do not, for some input.
    """
    for name, layer in model.layers().items():
        if (largest := layer.largest_sum) > LARGEST_SUM:
            bits = layer.input_quantizer.codes.qmax.bit_length() - math.ceil(math.log2(largest / LARGEST_SUM))
            raise InputError(
                f"the sums of layer {name!r} can reach {largest:,}",
                rule=f"integer kernels add up in int32, which holds {LARGEST_SUM:,}",
                remedy=f"Give the layer's input {max(bits, 2)} bits or fewer, leave the layer float (rules "
                f"`layers={name}=w8a{max(bits, 2)}` and `layers={name}=w32a32`), or split it",
            )


def require_integers(content: bytes, layers: list[str], adding: Mapping[str, int]) -> None:
    """Check that ONNX Runtime runs each of the named layers, whose weights are called NAME.codes, on integers.

    Args:
        content: an ONNX file.
        layers: names.
        adding: how many "sums" and "means" of codes there have to be (`IntegerForm.adding`).

    Raises:
        InputError: it would run one in float.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        open_session(content, optimized=optimized)
        graph = onnx.load(optimized).graph
    fused = Counter(node.op_type for node in graph.node)
    for what, count in adding.items():
        name = _FUSED[what]
        if fused[name] < count:
            raise InputError(
                f"{count - fused[name]} of {count} {what} of codes would run in float (they are not {name})",
                rule="what adds up codes runs on integers once it is deployed",
                remedy="Use the release of ONNX Runtime that constraints.txt names",
            )
    integers = [name for node in graph.node if node.op_type in INTEGER_OPERATORS for name in node.input]
    weights = {i.name: (tuple(i.dims), i.raw_data) for i in onnx.load_from_string(content).graph.initializer}
    for layer in layers:
        own = weights.get(f"{layer}.codes")  # layers with equal codes are made to share them
        names = tuple(name for name, codes in weights.items() if name.endswith(".codes") and codes == own)
        if not any(name.startswith(names) for name in integers):
            users = sorted({node.op_type for node in graph.node if any(i.startswith(layer) for i in node.input)})
            raise InputError(
                f"layer {layer!r} would run in float (ONNX Runtime makes it {' and '.join(users) or 'a constant'})",
                rule="every quantized layer runs on integers once it is deployed",
                remedy="Leave this layer float, or replace it by a plain Conv1d, Conv2d or Linear",
            )


def _translate(model: IntegerForm) -> Any:
    """The ONNX model of an integer form."""
    graph = copy.deepcopy(model.graph)
    for name, module in list(graph.named_modules()):
        if type(module) in _WRITTEN:
            graph.add_submodule(name, _WRITTEN[type(module)](module))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph.eval(),
                (torch.zeros(2, *model.shape),),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
                input_names=["images"],
                output_names=["logits"],
                opset_version=OPSET,
                optimize=False,
                verbose=False,
            )
    except Exception as error:  # the exporter has many
        raise InputError(
            f"the model cannot be written as ONNX ({str(error).splitlines()[0]})",
            rule="each of its operators needs a counterpart in ONNX",
            remedy="Replace the operator that the message names",
        ) from error
    assert program is not None
    for value in list(program.model.graph.initializers.values()):
        if "." not in str(value.name):  # the names of results, of the input and of the output have no dot either
            value.name = f".{value.name}"
    proto = program.model_proto
    del proto.graph.value_info[:]
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.initializer):
        del part.metadata_props[:]  # where in the Python code it comes from
    return proto


class _Quantizer(nn.Module):
    """Rounds onto a grid, as the ONNX operators that do it."""

    def __init__(self, quantizer: AffineQuantizer) -> None:
        super().__init__()
        codes = quantizer.codes
        self.clips = (codes.qmin, codes.qmax) != (0, 255)
        self.register_buffer("scale", quantizer.scale)
        for name, code in (("zero_point", int(quantizer.zero_point)), ("low", codes.qmin), ("high", codes.qmax)):
            self.register_buffer(name, torch.tensor(code, dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        codes = _operator("QuantizeLinear", x, self.scale, self.zero_point, dtype=torch.uint8)
        if self.clips:
            codes = _operator("Clip", codes, self.low, self.high, dtype=torch.uint8)
        return _operator("DequantizeLinear", codes, self.scale, self.zero_point)


class _Layer(nn.Module):
    """An integer layer, as a float one between the ONNX operators that make ONNX Runtime fuse it."""

    def __init__(self, layer: IntegerLayer) -> None:
        super().__init__()
        self.apply_to, self.arguments, self.linear = layer.apply_to, layer.arguments, layer.linear
        self.input_quantizer = _Quantizer(layer.input_quantizer)
        self.output_quantizer = layer.output_quantizer and _Quantizer(layer.output_quantizer)
        self.register_buffer("codes", layer.codes)
        self.register_buffer("scale", layer.scale)
        self.register_buffer("zero_point", torch.full(layer.scale.shape, layer.zero_point, dtype=torch.int8))
        bias = layer.bias
        if bias is None and not layer.linear:  # torch's exporter would write a float one, which keeps it from fusing
            bias = torch.zeros(len(layer.codes), dtype=torch.int32)
        self.register_buffer("bias", bias)
        self.register_buffer("unit", layer.unit)

    def forward(self, x: Tensor) -> Tensor:
        weight = _operator("DequantizeLinear", self.codes, self.scale, self.zero_point, axis=0)
        bias = None if self.bias is None else _operator("DequantizeLinear", self.bias, self.unit, axis=0)
        leading = x.shape[:-1]
        flat = self.linear and len(leading) > 1  # which would become a MatMul, in which a bias has no place
        y = self.apply_to(x.flatten(0, -2) if flat else x, weight, bias, *self.arguments)
        y = y if self.output_quantizer is None else self.output_quantizer(y)
        return y.unflatten(0, leading) if flat else y


class _Sum(nn.Module):
    """A sum of codes, as one of floats between the operators that make ONNX Runtime fuse it."""

    def __init__(self, adding: IntegerSum) -> None:
        super().__init__()
        self.one, self.other, self.output_quantizer = map(_Quantizer, (*adding.grids, adding.output_quantizer))  # type: ignore[arg-type]

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return self.output_quantizer(self.one(one) + self.other(other))


class _Mean(nn.Module):
    """A mean of codes, likewise."""

    def __init__(self, mean: IntegerMean) -> None:
        super().__init__()
        self.grid, self.output_quantizer = _Quantizer(mean.grid), _Quantizer(mean.output_quantizer)
        self.keepdim = mean.keepdim

    def forward(self, x: Tensor) -> Tensor:
        mean = torch.onnx.ops.symbolic(
            "GlobalAveragePool", (self.grid(x),), dtype=torch.float32, shape=(*x.shape[:2], 1, 1)
        )
        mean = self.output_quantizer(mean)
        return mean if self.keepdim else mean.flatten(1)


_FUSED = {"sums": "QLinearAdd", "means": "QLinearGlobalAveragePool"}
"""What ONNX Runtime makes of each."""

_WRITTEN: dict[type[nn.Module], Any] = {IntegerLayer: _Layer, IntegerSum: _Sum, IntegerMean: _Mean}


def _operator(name: str, x: Any, *more: Any, dtype: torch.dtype = torch.float32, **attributes: Any) -> Tensor:
    return torch.onnx.ops.symbolic(name, (x, *more), attributes, dtype=dtype, shape=x.shape)
