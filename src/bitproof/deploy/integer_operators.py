"""ONNX's operators on codes, computed in float with straight-through gradients: the exact fake-quantized form.

A tensor of codes is a float tensor here, which holds integers: sums of products are exact in float32 below 2^24. The
rounding passes the gradient, and the saturation masks it one step outside the grid, as `bitproof.quant.grid` does.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bitproof.deploy.integer_layer import ends_at_zero
from bitproof.deploy.operators import convolution, gemm, pooled
from bitproof.quant.codes import Codes
from bitproof.quant.grid import fake_quantize

_RANGES = {
    torch.uint8: (0, 255),
    torch.int8: (-128, 127),
    torch.uint16: (0, 2**16 - 1),
    torch.int16: (-(2**15), 2**15 - 1),
    torch.int32: (-(2**31), 2**31 - 1),
}


def along(value: Tensor, x: Tensor, axis: int) -> Tensor:
    """A scale or zero point, broadcast against the axis that it is given along; a single one as it is."""
    if value.numel() == 1:
        return value.reshape(())
    shape = [1] * x.dim()
    shape[axis % x.dim()] = -1
    return value.reshape(shape)


def rounded(x: Tensor, zero: Tensor, limits: tuple[int, int] | None = None) -> Tensor:
    """Codes of numbers in steps: rounded, moved by the zero point, cut to the range of its kind or to `limits`."""
    low, high = limits or _RANGES[zero.dtype]
    offset = zero.float()
    if bool((offset == low).all()):
        x = ends_at_zero(x)
    return fake_quantize(x, torch.ones((), device=x.device), offset, Codes(qmin=low, qmax=high)) + offset


def quantize(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    limits: tuple[int, int] | None = None,
    **_: Any,
) -> Tensor:
    """Codes of a float tensor; `limits` are those of a Clip that follows, which is a part of the rounding."""
    offset = torch.zeros((), dtype=torch.uint8, device=x.device) if zero is None else zero
    return rounded(x / along(scale, x, axis), along(offset, x, axis), limits)


def dequantize(codes: Tensor, scale: Tensor, zero: Tensor | None = None, *, axis: int = 1, **_: Any) -> Tensor:
    """The values that codes stand for."""
    codes = codes.float()
    return (codes if zero is None else codes - along(zero, codes, axis).float()) * along(scale, codes, axis)


def _dynamic(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """DynamicQuantizeLinear: the grid of uint8 that spans the tensor; its ends get no gradient."""
    low, high = x.detach().amin().clamp(max=0), x.detach().amax().clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero = (-low / scale).round().clamp(0, 255).to(torch.uint8)
    return quantize(x, scale, zero), scale, zero


def _requantized(sums: Tensor, ratio: Tensor, zero: Tensor) -> Tensor:
    return rounded(sums * ratio, zero)


def _convolution(x: Tensor, *grids: Tensor, **a: Any) -> Tensor:
    xs, xz, w, ws, wz, ys, yz, *b = grids
    sums = _products(x, w, xz, wz, **a)
    channels = [-1, *[1] * (w.dim() - 2)]
    if b:
        sums = sums + b[0].float().view(channels)
    return _requantized(sums, along(xs * ws / ys, sums, 1), yz)


def _products(x: Tensor, w: Tensor, xz: Tensor | None = None, wz: Tensor | None = None, **a: Any) -> Tensor:
    """ConvInteger: sums of products of codes, less their zero points."""
    left = x.float() if xz is None else x.float() - xz.float()
    right = w.float() if wz is None else w.float() - along(wz, w, 0).float()
    return convolution(left, right, **a)


def _matmul(a: Tensor, b: Tensor, az: Tensor | None = None, bz: Tensor | None = None) -> Tensor:
    """MatMulInteger."""
    left = a.float() if az is None else a.float() - along(az, a, -2).float()
    return left @ (b.float() if bz is None else b.float() - along(bz, b, -1).float())


def _quantized_matmul(
    a: Tensor, xs: Tensor, xz: Tensor, b: Tensor, ws: Tensor, wz: Tensor, ys: Tensor, yz: Tensor
) -> Tensor:
    return _requantized(_matmul(a, b, xz, wz), xs * ws / ys, yz)


def _quantized_gemm(
    a: Tensor, xs: Tensor, xz: Tensor, b: Tensor, ws: Tensor, wz: Tensor, *rest: Tensor | None, **k: Any
) -> Tensor:
    bias, ys, yz = (*rest, None, None, None)[:3]
    weight = b.float() - along(wz, b, 0 if k.get("transB") else 1).float()
    scale = k.pop("alpha", 1.0) * xs * ws
    sums = gemm(a.float() - xz.float(), weight, bias if bias is None else bias.float(), **k)
    if ys is None or yz is None:
        return sums * scale
    return _requantized(sums, scale / ys, yz)


def _pairwise(of: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def binary(a: Tensor, xs: Tensor, xz: Tensor, b: Tensor, ws: Tensor, wz: Tensor, ys: Tensor, yz: Tensor) -> Tensor:
        return quantize(of(dequantize(a, xs, xz), dequantize(b, ws, wz)), ys, yz)

    return binary


def _on_values(of: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An operator on codes that takes codes, scale, zero point, and scale and zero point of its result."""

    def unary(x: Tensor, xs: Tensor, xz: Tensor, ys: Tensor, yz: Tensor, **a: Any) -> Tensor:
        return quantize(of(dequantize(x, xs, xz), **a), ys, yz)

    return unary


def _pooled(x: Tensor, **a: Any) -> Tensor:
    axes = (1, 2) if a.get("channels_last") else (2, 3)
    return x.mean(axes, keepdim=True)


def _averaged(x: Tensor, **a: Any) -> Tensor:
    if a.pop("channels_last", 0):
        raise ValueError("an average pooling of images that are channels-last")
    return pooled(x, "average", **a)


def _concatenated(ys: Tensor, yz: Tensor, *parts: Tensor, axis: int) -> Tensor:
    values = [dequantize(*parts[i : i + 3]) for i in range(0, len(parts), 3)]
    return quantize(torch.cat(values, axis), ys, yz)


def _softmax(x: Tensor, *, axis: int = -1, **_: Any) -> Tensor:
    return x.softmax(axis)


INTEGER_OPERATORS: dict[str, Callable[..., Any]] = {
    "ConvInteger": _products,
    "DequantizeLinear": dequantize,
    "DynamicQuantizeLinear": _dynamic,
    "MatMulInteger": _matmul,
    "QGemm": _quantized_gemm,
    "QLinearAdd": _pairwise(torch.add),
    "QLinearAveragePool": _on_values(_averaged),
    "QLinearConcat": _concatenated,
    "QLinearConv": _convolution,
    "QLinearGlobalAveragePool": _on_values(_pooled),
    "QLinearLeakyRelu": _on_values(lambda x, alpha=0.01: torch.nn.functional.leaky_relu(x, alpha)),
    "QLinearMatMul": _quantized_matmul,
    "QLinearMul": _pairwise(torch.mul),
    "QLinearSigmoid": _on_values(torch.sigmoid),
    "QLinearSoftmax": _on_values(_softmax),
    "QuantizeLinear": quantize,
}
"""By the name that ONNX, or ONNX Runtime, has for them."""
