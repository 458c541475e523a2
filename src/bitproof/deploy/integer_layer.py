"""A layer that computes on codes, as integer kernels do."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bitproof.core.ste import round_ste
from bitproof.quant.grid import AffineQuantizer, fake_quantize

LINEAR = torch.ops.aten.linear.default
LARGEST_BIAS = 2**30
LARGEST_SUM = 2**31 - 1
"""What the int32 in which kernels add up products can hold."""


class IntegerLayer(nn.Module):
    """A convolution or linear layer that computes on codes.

    Args:
        apply: the operator of ATen, called with input, weight, bias and `arguments`.
        codes: int8 codes of the weight [out, ...], `zero_point` of which stands for zero.
        scale: of the weight, by output channel [out].
        bias: in the units of the output [out], or None; becomes int32 codes of input scale * weight scale.
        input_quantizer: the grid of the input, which is on it already.
        output_quantizer: the grid of the output; None leaves sums in float.
    """

    codes: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(
        self,
        apply: Any,
        arguments: tuple[Any, ...],
        *,
        codes: Int[Tensor, "out ..."],
        zero_point: int,
        scale: Float[Tensor, " out"],
        bias: Float[Tensor, " out"] | None,
        input_quantizer: AffineQuantizer,
        output_quantizer: AffineQuantizer | None,
    ) -> None:
        super().__init__()
        self.apply_to = apply
        self.arguments = arguments
        self.zero_point = zero_point
        self.input_quantizer = input_quantizer
        self.output_quantizer = output_quantizer
        if bias is not None:  # a channel of almost no gain gets a coarser unit, in which its weights are nothing
            fine = bias.abs() <= LARGEST_BIAS * (input_quantizer.scale * scale)
            scale = torch.where(fine, scale, bias.abs() / LARGEST_BIAS / input_quantizer.scale)
            codes = torch.where(fine.view(-1, *[1] * (codes.dim() - 1)), codes, zero_point).to(torch.int8)
            bias = (bias.double() / (input_quantizer.scale * scale)).round().int()
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    @property
    def linear(self) -> bool:
        return self.apply_to is LINEAR

    @property
    def unit(self) -> Float[Tensor, " out"]:
        """What one step of each channel's sum stands for."""
        return self.input_quantizer.scale * self.scale

    @property
    def largest_sum(self) -> int:
        """The largest magnitude that the sum of products and bias can have, whatever codes the input holds."""
        grid = self.input_quantizer
        offset = int(grid.zero_point)
        weights = (self.codes.double() - self.zero_point).flatten(1)
        above, below = weights.clamp(min=0).sum(1), weights.clamp(max=0).sum(1)
        highest, lowest = grid.codes.qmax - offset, grid.codes.qmin - offset
        bias = 0 if self.bias is None else self.bias.double()
        ends = (above * highest + below * lowest + bias, above * lowest + below * highest + bias)
        return int(torch.stack(ends).abs().max())

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        codes = round_ste(x / self.input_quantizer.scale)
        sums = self.apply_to(codes, self.codes.float() - self.zero_point, None, *self.arguments)
        if self.bias is not None:  # added in double, and rounded once, as a sum of int32 is
            sums = (sums + self._along(self.bias.double())).float()
        to = self.output_quantizer
        if to is None:
            return sums * self._along(self.unit)
        return on_grid(sums * self._along(self.unit / to.scale), to)

    def _along(self, values: Tensor) -> Tensor:
        """Values by output channel, for broadcasting against the output: [..., out] of linear layers."""
        return values.view(-1, *[1] * (self.codes.dim() - 2))

    def extra_repr(self) -> str:
        return f"{self.apply_to}, {self.arguments}, zero_point={self.zero_point}"


def on_grid(steps: Float[Tensor, "n ..."], to: AffineQuantizer) -> Float[Tensor, "n ..."]:
    """The values that numbers in steps of a grid are rounded to; the gradient of one that begins at zero ends there."""
    if to.codes.qmin == int(to.zero_point):
        steps = ends_at_zero(steps)
    return fake_quantize(steps, torch.ones_like(to.scale), to.zero_point, to.codes) * to.scale


def ends_at_zero(steps: Tensor, zero: float = 0.0) -> Tensor:
    """Numbers that are going to be rounded and cut at `zero`, without a gradient below it.

    A grid that begins at zero cuts as a ReLU does, and most often is one that was folded: its gradient ends at zero,
    and not one step before, as at the edges of other grids, which with few bits is far. Sums of codes that are zero are
    so in floats but for their last bits.
    """
    return steps.clamp(min=zero - 1e-3)
