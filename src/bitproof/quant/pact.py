"""PACT: parameterized clipping activation (Choi et al. 2018, arXiv 1805.06085).

    y      = clip(x, 0, alpha)                                           Eq. 1
    y_q    = round(y (2^k - 1) / alpha) alpha / (2^k - 1)                Eq. 2
    dy_q/dalpha = 1 where x >= alpha, else 0                             Eq. 3
    dy_q/dx     = 1 where 0 <= x < alpha, else 0

Weights are DoReFa's. The paper starts alpha high and lets an l2 penalty on it pull it down in training:
add a multiple of `pact_penalty(model)` to the loss. Here alpha starts at the upper end of the scheme's
`act_range` over the calibration images, or at 8 without any or where no value is above zero. Values
below zero are lost: the clipping takes the place of the ReLU.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.quant.dorefa import DoReFaWeights
from bitproof.quant.method import Method
from bitproof.quant.range_rules import ACT_RANGES
from bitproof.quant.ranges import Histogram, RangeSettings
from bitproof.quant.scheme import Scheme


class PACTActivations(nn.Module):
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

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


class _ClipAndRound(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, alpha, top):
        ctx.save_for_backward(x, alpha)
        step = alpha / top
        return torch.div(x, step).clamp_(0, top).round_().mul_(step)

    @staticmethod
    def backward(ctx, *grad_outputs):
        (gradient,) = grad_outputs
        x, alpha = ctx.saved_tensors
        return gradient * ((x >= 0) & (x < alpha)), (gradient * (x >= alpha)).sum(), None


def pact_penalty(model: nn.Module) -> Float[Tensor, ""]:
    """The sum of alpha^2 over the model's PACT quantizers, to be weighted and added to a loss; 0 without any."""
    alphas = [module.alpha for module in model.modules() if isinstance(module, PACTActivations)]
    return sum((alpha.square() for alpha in alphas), start=torch.zeros(()))


@torch.no_grad()
def _observe(quantizer: nn.Module, histogram: Histogram, scheme: Scheme) -> None:
    assert isinstance(quantizer, PACTActivations)
    of_stream = ACT_RANGES[scheme.act_range]
    settings = RangeSettings(bits=scheme.act_bits, symmetric=False, percentile=scheme.percentile)
    _, high = of_stream(histogram, settings)
    if high > 0:
        quantizer.alpha.fill_(high)


PACT = Method(
    description="PACT's learned clipping of activations, DoReFa-Net's weights, for training.",
    weight_bits=range(1, 9),
    act_bits=range(1, 9),
    weights=lambda weight, scheme: DoReFaWeights(scheme.weight_bits),
    inputs=lambda scheme: PACTActivations(scheme.act_bits),
    observe=_observe,
)
