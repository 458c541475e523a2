"""The operators of ONNX that classifiers of images consist of, by torch's functions, so that gradients pass.

Each takes the tensors of a node (None for one that is left out) and its attributes by name, and is right for every
version of the operator: what older ones have as an attribute, newer ones have as a tensor. Nothing of a file is run.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bitproof.core.ste import straight_through
from bitproof.errors import InputError

LARGEST = 2**28
"""Numbers that an operator may make out of a few: a file of some bytes could ask for terabytes."""

_KINDS = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
"""What ONNX calls kinds of numbers."""


def numbers(value: Any) -> list[int]:
    """Whole numbers out of a tensor or an attribute."""
    return [int(v) for v in (value.tolist() if isinstance(value, Tensor) else value)]


def bounded(shape: Sequence[int]) -> Sequence[int]:
    """The shape, if it is not beyond all measure."""
    if math.prod(shape) > LARGEST:
        raise ValueError(f"a tensor of shape {list(shape)}")
    return shape


def pads_of(x: Tensor, kernel: Sequence[int], attributes: dict[str, Any]) -> list[int]:
    """Padding [begin of each axis, end of each axis] of a convolution or pooling."""
    auto = attributes.get("auto_pad", b"NOTSET")
    if auto in (b"NOTSET", b"VALID"):
        return list(attributes.get("pads") or [0] * 2 * len(kernel)) if auto == b"NOTSET" else [0] * 2 * len(kernel)
    strides, dilations = (attributes.get(name) or [1] * len(kernel) for name in ("strides", "dilations"))
    begin, end = [], []
    for size, width, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + (width - 1) * dilation + 1 - size, 0)
        small = total // 2
        begin.append(small if auto == b"SAME_UPPER" else total - small)
        end.append(total - begin[-1])
    return begin + end


def padded(x: Tensor, pads: Sequence[int], value: float = 0.0) -> tuple[Tensor, list[int]]:
    """The tensor padded where both ends of an axis differ, and what is left to pad alike on both."""
    half = len(pads) // 2
    if list(pads[:half]) == list(pads[half:]):
        return x, list(pads[:half])
    pairs = [side for axis in reversed(range(half)) for side in (pads[axis], pads[half + axis])]
    return F.pad(x, pairs, value=value), [0] * half


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, fill: float = 0.0, **a: Any) -> Tensor:
    """Conv of one or two dimensions; `fill` stands in the padding."""
    pads = pads_of(x, weight.shape[2:], a)
    x, left = padded(x, pads, fill) if not fill else (_filled(x, pads, fill), [0] * (weight.dim() - 2))
    of = F.conv1d if weight.dim() == 3 else F.conv2d
    ones = [1] * (weight.dim() - 2)
    return of(x, weight, bias, a.get("strides") or ones, left, a.get("dilations") or ones, a.get("group", 1))


def _filled(x: Tensor, pads: Sequence[int], value: float) -> Tensor:
    half = len(pads) // 2
    return F.pad(x, [s for axis in reversed(range(half)) for s in (pads[axis], pads[half + axis])], value=value)


def gemm(a: Tensor, b: Tensor, c: Tensor | None = None, **k: Any) -> Tensor:
    """alpha A B + beta C."""
    left, right = (a.T if k.get("transA") else a), (b.T if k.get("transB") else b)
    product = k.get("alpha", 1.0) * (left @ right)
    return product if c is None else product + k.get("beta", 1.0) * c


def _batch_norm(x: Tensor, gain: Tensor, shift: Tensor, mean: Tensor, var: Tensor, **a: Any) -> Tensor:
    return F.batch_norm(x, mean, var, gain, shift, False, 0.0, a.get("epsilon", 1e-5))


def pooled(x: Tensor, kind: str, **a: Any) -> Tensor:
    kernel = a["kernel_shape"]
    strides = a.get("strides") or [1] * len(kernel)
    pads, ceil = pads_of(x, kernel, a), bool(a.get("ceil_mode"))
    if kind == "max":
        x, left = padded(x, pads, -math.inf)
        of = F.max_pool1d if len(kernel) == 1 else F.max_pool2d
        return of(x, kernel, strides, left, a.get("dilations") or 1, ceil)
    x, left = padded(x, pads)
    counted = bool(a.get("count_include_pad")) or left != pads[: len(kernel)]
    if counted and not a.get("count_include_pad"):
        raise ValueError("an average pooling that is padded at one end alone")
    if len(kernel) == 1:
        return F.avg_pool1d(x, kernel, strides, left, ceil, counted)
    return F.avg_pool2d(x, kernel, strides, left, ceil, counted)


def _reshape(x: Tensor, shape: Tensor | None = None, **a: Any) -> Tensor:
    sizes = numbers(a["shape"] if shape is None else shape)
    if not a.get("allowzero"):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def _axes(x: Tensor, given: Tensor | None, a: dict[str, Any]) -> list[int]:
    chosen = a.get("axes") if given is None else given
    return list(range(x.dim())) if chosen is None else [axis % x.dim() for axis in numbers(chosen)]


def _reduce(of: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduce(x: Tensor, axes: Tensor | None = None, **a: Any) -> Tensor:
        if axes is None and a.get("axes") is None and a.get("noop_with_empty_axes"):
            return x
        return of(x, _axes(x, axes, a), bool(a.get("keepdims", 1)))

    return reduce


def _squeeze(x: Tensor, axes: Tensor | None = None, **a: Any) -> Tensor:
    if axes is None and a.get("axes") is None:
        return x.squeeze()
    return x.squeeze(tuple(_axes(x, axes, a)))


def _unsqueeze(x: Tensor, axes: Tensor | None = None, **a: Any) -> Tensor:
    chosen = numbers(a["axes"] if axes is None else axes)
    rank = x.dim() + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


def _slice(x: Tensor, *given: Tensor | None, **a: Any) -> Tensor:
    starts, ends, axes, steps = ([*given, None, None, None, None])[:4]
    begin, end = numbers(a["starts"] if starts is None else starts), numbers(a["ends"] if ends is None else ends)
    along = range(len(begin)) if axes is None and "axes" not in a else numbers(a["axes"] if axes is None else axes)
    by = [1] * len(begin) if steps is None else numbers(steps)
    for first, last, axis, step in zip(begin, end, along, by, strict=True):
        chosen = range(*slice(first, last, step).indices(x.shape[axis]))
        x = x.index_select(axis, torch.tensor(list(chosen), dtype=torch.int64, device=x.device))
    return x


def _gather(x: Tensor, indices: Tensor, **a: Any) -> Tensor:
    axis = a.get("axis", 0) % x.dim()
    chosen = torch.where(indices < 0, indices + x.shape[axis], indices).long()
    picked = x.index_select(axis, chosen.reshape(-1))
    return picked.reshape((*x.shape[:axis], *chosen.shape, *x.shape[axis + 1 :]))


def _pad(
    x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None, **a: Any
) -> Any:
    sides = numbers(a["pads"] if pads is None else pads)
    half = len(sides) // 2
    along = range(x.dim()) if axes is None else [axis % x.dim() for axis in numbers(axes)]
    pairs = [0] * 2 * x.dim()
    for place, axis in enumerate(along):
        back = 2 * (x.dim() - 1 - axis)
        pairs[back], pairs[back + 1] = sides[place], sides[half + place]
    mode = a.get("mode", b"constant").decode()
    if mode == "constant":
        return F.pad(x, pairs, value=a.get("value", 0.0) if value is None else float(value))
    while pairs and pairs[-1] == 0:
        pairs.pop()
    pairs += [0] * (len(pairs) % 2)
    return F.pad(x, pairs, mode={"reflect": "reflect", "edge": "replicate"}[mode])


def _split(x: Tensor, sizes: Tensor | None = None, *, outputs: int, **a: Any) -> Any:
    axis = a.get("axis", 0)
    if sizes is not None or "split" in a:
        return x.split(numbers(a["split"] if sizes is None else sizes), axis)
    return x.split(math.ceil(x.shape[axis] / a.get("num_outputs", outputs)), axis)


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None, **a: Any) -> Tensor:
    bounds = [None if v is None else float(v) for v in (low, high)]
    lowest, highest = bounds[0] if low is not None else a.get("min"), bounds[1] if high is not None else a.get("max")
    return x if lowest is None and highest is None else x.clamp(lowest, highest)


def _softmax(of: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def softmax(x: Tensor, *, opset: int, **a: Any) -> Tensor:
        if opset >= 13:
            return of(x, a.get("axis", -1))
        axis = a.get("axis", 1) % x.dim()  # of old, over all axes from this one on
        return of(x.flatten(axis), -1).view_as(x)

    return softmax


def _cast(x: Tensor, *, to: int, **_: Any) -> Tensor:
    kind = _KINDS.get(to)
    if kind is None:
        raise ValueError(f"numbers of kind {to}")
    if kind.is_floating_point:
        return x.to(torch.float32) if kind != torch.float64 or x.requires_grad else x.to(kind)
    return straight_through(x, x.trunc()) if x.requires_grad else x.to(kind)


def _expand(x: Tensor, shape: Tensor) -> Tensor:
    sizes = torch.broadcast_shapes(x.shape, tuple(numbers(shape)))
    return x.expand(*bounded(sizes))


def _filled_with(shape: Tensor, value: Tensor | None = None) -> Tensor:
    value = torch.zeros(1) if value is None else value
    return value.reshape(()).expand(*bounded(numbers(shape))).clone()


def _range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, last, step = (v.item() for v in (start, limit, delta))
    bounded([max(0, math.ceil((last - first) / step))])
    return torch.arange(first, last, step, dtype=start.dtype)


def _power(x: Tensor, exponent: Tensor) -> Tensor:
    return x.pow(exponent.item() if exponent.numel() == 1 else exponent)  # a number keeps 0's gradient finite


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return a / b if a.is_floating_point() or b.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _layer_norm(x: Tensor, gain: Tensor, shift: Tensor | None = None, **a: Any) -> Tensor:
    axis = a.get("axis", -1) % x.dim()
    return F.layer_norm(x, x.shape[axis:], gain, shift, a.get("epsilon", 1e-5))


def _flatten(x: Tensor, **a: Any) -> Tensor:
    axis = a.get("axis", 1) % (x.dim() + 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _remainder(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


def _product(x: Tensor, axes: Sequence[int], keep: bool) -> Tensor:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = x.prod(axis, keep)
    return x


def _split_to_sequence(
    x: Tensor, size: Tensor | None = None, *, axis: int = 0, keepdims: int = 1
) -> tuple[list[Tensor]]:
    """One result, which is a list."""
    parts = list(x.split(1 if size is None else int(size) if size.dim() == 0 else numbers(size), axis))
    return ([part.squeeze(axis) for part in parts] if size is None and not keepdims else parts,)


def _all(of: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def fold(first: Tensor, *more: Tensor) -> Tensor:
        for other in more:
            first = of(first, other)
        return first

    return fold


OPERATORS: dict[str, Callable[..., Any]] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "AveragePool": lambda x, **a: pooled(x, "average", **a),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "CastLike": lambda x, like: x.to(like.dtype),
    "Ceil": torch.ceil,
    "Clip": _clip,
    "Concat": lambda *x, axis: torch.cat(x, axis),
    "ConstantOfShape": _filled_with,
    "Conv": convolution,
    "Div": _divide,
    "Dropout": lambda x, *_, **__: x,
    "Elu": lambda x, alpha=1.0: F.elu(x, alpha),
    "Equal": torch.eq,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": torch.floor,
    "Gather": _gather,
    "Gelu": lambda x, approximate=b"none": F.gelu(x, approximate=approximate.decode()),
    "Gemm": gemm,
    "GlobalAveragePool": lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True),
    "GlobalMaxPool": lambda x: x.amax(tuple(range(2, x.dim())), keepdim=True),
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: (alpha * x + beta).clamp(0, 1),
    "HardSwish": F.hardswish,
    "Identity": lambda x: x,
    "InstanceNormalization": lambda x, g, b, epsilon=1e-5: F.instance_norm(x, weight=g, bias=b, eps=epsilon),
    "LRN": lambda x, size, alpha=1e-4, beta=0.75, bias=1.0: F.local_response_norm(x, size, alpha, beta, bias),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda x, alpha=0.01: F.leaky_relu(x, alpha),
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Log": torch.log,
    "LogSoftmax": _softmax(torch.log_softmax),
    "MatMul": torch.matmul,
    "Max": _all(torch.maximum),
    "MaxPool": lambda x, **a: pooled(x, "max", **a),
    "Mean": lambda *x: _all(torch.add)(*x) / len(x),
    "Min": _all(torch.minimum),
    "Mish": F.mish,
    "Mod": _remainder,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "PRelu": _prelu,
    "Pad": _pad,
    "Pow": _power,
    "Range": _range,
    "Reciprocal": torch.reciprocal,
    "ReduceL2": _reduce(lambda x, axes, keep: x.square().sum(axes, keep).sqrt()),
    "ReduceMax": _reduce(lambda x, axes, keep: x.amax(axes, keep)),
    "ReduceMean": _reduce(lambda x, axes, keep: x.mean(axes, keep)),
    "ReduceProd": _reduce(_product),
    "ReduceMin": _reduce(lambda x, axes, keep: x.amin(axes, keep)),
    "ReduceSum": _reduce(lambda x, axes, keep: x.sum(axes, keep)),
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Round": lambda x: straight_through(x, x.round()),
    "Selu": F.selu,
    "SequenceAt": lambda parts, i: parts[int(i)],
    "Shape": lambda x, start=0, end=None: torch.tensor(x.shape[start:end]),
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Slice": _slice,
    "Softmax": _softmax(torch.softmax),
    "Softplus": F.softplus,
    "Split": _split,
    "SplitToSequence": _split_to_sequence,
    "Sqrt": torch.sqrt,
    "Squeeze": _squeeze,
    "Sub": torch.sub,
    "Sum": _all(torch.add),
    "Tanh": torch.tanh,
    "Tile": lambda x, times: x.repeat(*bounded(numbers(times))),
    "Transpose": lambda x, perm=None: x.permute(perm or list(reversed(range(x.dim())))),
    "Unsqueeze": _unsqueeze,
    "Where": torch.where,
}
"""By the name that ONNX has for them."""


def unknown(name: str) -> InputError:
    """What is said of an operator that is not in the table."""
    return InputError(
        f"the ONNX operator {name!r}",
        rule="no gradient is known here for it, nor for control flow and for functions that a file defines",
        remedy="Give the gradient by the float model that the file came from (--twin NAME with its weights, "
        "Twin(session, gradient_from=model))",
    )
