"""PACT: parameterized clipping activation (Choi et al. 2018, arXiv 1805.06085).

    y      = clip(x, 0, alpha)                                           Eq. 1
    y_q    = round(y (2^k - 1) / alpha) alpha / (2^k - 1)                Eq. 2
    dy_q/dalpha = 1 where x >= alpha, else 0                             Eq. 3
    dy_q/dx     = 1 where 0 <= x < alpha, else 0

Weights are DoReFa's. The paper starts alpha high and lets an l2 penalty on it pull it down in training:
training adds a multiple of `quant.penalty(model)` to the loss. Here alpha starts at the upper end of its
`act_range` over the calibration images, or at 8 without any or where no value is above zero. Values
below zero are lost: the clipping takes the place of the ReLU.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.quant.blocks import between, rounded
from bitproof.quant.codes import CodeGrid, Codes
from bitproof.quant.dorefa import DoReFaWeights
from bitproof.quant.method import Method
from bitproof.quant.quantizer import InputQuantizer, WeightQuantizer
from bitproof.quant.range_rules import ACT_RANGES, DEFAULT_PERCENTILE, check_ranges
from bitproof.quant.ranges import Histogram, RangeSettings


class PACTActivations(InputQuantizer):
    """Activations clipped to [0, |alpha|], alpha learned, and rounded to 2^k levels.

    Example:
        >>> quantizer = PACTActivations(bits=2)
        >>> quantizer.alpha.data.fill_(3.0)
        tensor(3.)
        >>> x = torch.tensor([-1.0, 1.2, 3.0, 9.0], requires_grad=True)
        >>> y = quantizer(x); y.sum().backward()
        >>> y.tolist(), x.grad.tolist(), quantizer.alpha.grad.item()
        ([0.0, 1.0, 3.0, 3.0], [0.0, 1.0, 0.0, 0.0], 2.0)
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.alpha = nn.Parameter(torch.tensor(8.0))

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return _ClipAndRound.apply(x, self.alpha.abs(), 2**self.bits - 1)  # type: ignore[no-any-return]

    def penalty(self) -> Float[Tensor, ""]:
        """alpha^2."""
        return self.alpha.square()

    def code_grid(self) -> CodeGrid | str:
        codes = Codes.of(self.bits, symmetric=False)
        return CodeGrid(scale=self.alpha.abs() / codes.qmax, zero_point=0, codes=codes)

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


TINY = torch.finfo(torch.float32).tiny


class _ClipAndRound(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, alpha, top):
        ctx.save_for_backward(x, alpha)
        return rounded(x, alpha / top, 0, top)

    @staticmethod
    def backward(ctx, *grad_outputs):
        (gradient,) = grad_outputs
        x, alpha = ctx.saved_tensors
        below = alpha.nextafter(torch.zeros_like(alpha))  # the intervals are open
        of_alpha = between(gradient, x, below, torch.inf).sum() if ctx.needs_input_grad[1] else None
        return between(gradient, x, -TINY, alpha), of_alpha, None


@dataclass(frozen=True, kw_only=True)
class PACT(Method):
    """PACT's learned clipping of activations, DoReFa-Net's weights, for training.

    Attributes:
        act_range: a name in `bitproof.quant.range_rules.ACT_RANGES`; alpha starts at the upper end of that range.
        percentile: how many percent of the values lie inside a "percentile" range.
    """

    name = "pact"
    weight_bits = range(1, 9)
    act_bits = range(1, 9)
    observes = True

    act_range: str = "minmax"
    percentile: float = DEFAULT_PERCENTILE

    def __post_init__(self) -> None:
        check_ranges(act_range=self.act_range, percentile=self.percentile)

    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        return DoReFaWeights(bits)

    @torch.no_grad()
    def inputs(self, bits: int, received: Histogram | None = None) -> InputQuantizer:
        quantizer = PACTActivations(bits)
        if received is not None:
            span = RangeSettings(bits=bits, symmetric=False, percentile=self.percentile)
            _, high = ACT_RANGES[self.act_range](received, span)
            if high > 0:
                quantizer.alpha.fill_(high)
        return quantizer
