"""Uniform grids: which values a quantized tensor may take, and the rounding onto them.

A grid of b bits has the codes qmin..qmax; code q stands for scale * (q - zero_point). Weights and
activations are simulated in float: `fake_quantize` returns grid values, with a straight-through
gradient (Jacob et al. 2018, Eq. 1 and Section 3).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.errors import lookup
from bitproof.quant.blocks import between, rounded
from bitproof.quant.codes import CodeGrid, Codes
from bitproof.quant.quantizer import InputQuantizer, WeightQuantizer

GRANULARITIES = ("tensor", "channel")
"""What shares a grid of weights: all of a layer's, or those of each output channel."""


def share_a_grid(weight: Float[Tensor, "out ..."], granularity: str) -> tuple[Float[Tensor, "rows n"], tuple[int, ...]]:
    """The weights in rows that share a grid, and the shape of one value a row that broadcasts against the weight."""
    if granularity == "channel":
        return weight.detach().flatten(1), (weight.shape[0], *[1] * (weight.dim() - 1))
    return weight.detach().reshape(1, -1), ()


def check_granularity(granularity: str) -> None:
    """Raise `InputError` for a name that is not in `GRANULARITIES`."""
    lookup(dict.fromkeys(GRANULARITIES), granularity, "granularity")


def affine_grid(
    low: Float[Tensor, "..."], high: Float[Tensor, "..."], codes: Codes, *, symmetric: bool
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Scale and zero point (both float, the zero point integer-valued) of the grid that spans [low, high].

    The range is widened to hold zero, which every grid must represent exactly (padding, ReLU).
    A range of width zero gets scale 1: the tensor holds only zeros and stays zero.
    """
    low, high = low.clamp(max=0), high.clamp(min=0)
    if symmetric:
        scale = torch.maximum(-low, high) / codes.qmax
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return scale, torch.zeros_like(scale)
    scale = (high - low) / (codes.qmax - codes.qmin)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return scale, (codes.qmin - (low / scale).round()).clamp(codes.qmin, codes.qmax)


def fake_quantize(x: Float[Tensor, "..."], scale: Tensor, zero_point: Tensor, codes: Codes) -> Float[Tensor, "..."]:
    """Round `x` half to even onto the grid, saturating; the gradient passes up to one step outside the grid.

    `scale` and `zero_point` broadcast against `x`. The step of slack matters: rounding the zero point moves
    the grid by up to half a step against the range it was made for, and a mask that is cut at the grid
    would hide every black pixel of an image from a gradient-based attack.

    Example:
        >>> x = torch.tensor([-3.0, 0.3, 0.6, 9.0], requires_grad=True)
        >>> y = fake_quantize(x, torch.tensor(0.5), torch.tensor(0.0), Codes(qmin=0, qmax=15))
        >>> y.sum().backward(); y.tolist(), x.grad.tolist()
        ([0.0, 0.5, 0.5, 7.5], [0.0, 1.0, 1.0, 0.0])
    """
    return _FakeQuantize.apply(x, scale, codes.qmin - zero_point, codes.qmax - zero_point)  # type: ignore[no-any-return]


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, lowest, highest):
        ctx.save_for_backward(x, scale, lowest, highest)
        return rounded(x, scale, lowest, highest)

    @staticmethod
    def backward(ctx, *grad_outputs):
        x, scale, lowest, highest = ctx.saved_tensors
        return between(grad_outputs[0], x, (lowest - 1) * scale, (highest + 1) * scale), None, None, None


class AffineQuantizer(WeightQuantizer, InputQuantizer):
    """Rounds a tensor onto a fixed uniform grid.

    Args:
        codes: the integers of the grid.
        shape: shape of scale and zero point; () for one grid, (channels, 1, ...) for one a channel.

    The grid is set by `set_range` and travels in the state dict.
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, codes: Codes, *, symmetric: bool, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.codes = codes
        self.symmetric = symmetric
        self.register_buffer("scale", torch.ones(shape))
        self.register_buffer("zero_point", torch.zeros(shape))

    def set_range(self, low: Float[Tensor, "..."], high: Float[Tensor, "..."]) -> None:
        """Choose the grid that spans [low, high], element by element of `shape`."""
        scale, zero_point = affine_grid(low, high, self.codes, symmetric=self.symmetric)
        self.scale.copy_(scale.view_as(self.scale))
        self.zero_point.copy_(zero_point.view_as(self.zero_point))

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return fake_quantize(x, self.scale, self.zero_point, self.codes)

    def neighbours(self, weight: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """The levels below and above each value; the same one twice where it lies outside the grid."""
        lowest, highest = self.codes.qmin - self.zero_point, self.codes.qmax - self.zero_point
        code = (weight / self.scale).floor()
        return code.clamp(lowest, highest) * self.scale, (code + 1).clamp(lowest, highest) * self.scale

    def code_scale(self, weight: Float[Tensor, "out ..."]) -> Tensor | str:
        return self.scale

    def code_grid(self) -> CodeGrid | str:
        return self.fixed_grid()

    def fixed_grid(self) -> CodeGrid:
        return CodeGrid(scale=self.scale, zero_point=self.zero_point, codes=self.codes)

    def set_scale(self, scale: Tensor) -> None:
        self.scale.copy_(scale)

    def extra_repr(self) -> str:
        return (
            f"codes=[{self.codes.qmin}, {self.codes.qmax}], symmetric={self.symmetric}, shape={tuple(self.scale.shape)}"
        )
