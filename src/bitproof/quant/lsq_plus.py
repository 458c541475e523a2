"""LSQ+: LSQ with a learned offset of activations (Bhalgat et al. 2020, arXiv 2004.09576).

    activations    x^ = round(clip((x - beta) / s, 0, 2^b - 1)) s + beta        Section 3.1
                   dx^/ds as LSQ's of (x - beta) / s;  dx^/dbeta = 0 inside, 1 outside
                   s and beta start where sum (x^ - x)^2 is least               Section 3.2
    weights        LSQ's, s_0 = max(|mu - 3 sigma|, |mu + 3 sigma|) / 2^(b-1)   Section 3.2

So the values below zero that SiLU, GELU or a linear layer let through keep levels of their own. Zero
itself need not be a level. The gradient of beta is scaled like that of s. The least error is looked for
on a grid over the ends of the range, where the paper descends on s and beta.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.ste import scale_gradient
from bitproof.quant.grid import Codes
from bitproof.quant.lsq import LSQWeights, learned_step, nonzero, share_a_step
from bitproof.quant.method import Method
from bitproof.quant.ranges import BINS, Histogram
from bitproof.quant.scheme import Scheme

_SHARES = torch.linspace(0.01, 1, 100, dtype=torch.float64)


class LSQPlusActivations(nn.Module):
    """Activations onto a grid with a learned step and a learned lowest level.

    Example:
        >>> quantizer = LSQPlusActivations(bits=2)
        >>> quantizer.offset.data.fill_(-0.5)
        tensor(-0.5000)
        >>> quantizer(torch.tensor([[-9.0, 0.4, 9.0]])).tolist()
        [[-0.5, 0.5, 2.5]]
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.codes = Codes.of(bits, symmetric=False)
        self.step = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        g = 1 / math.sqrt(x[0].numel() * self.codes.qmax)
        step, offset = scale_gradient(self.step.abs(), g), scale_gradient(self.offset, g)
        return learned_step(x - offset, step, self.codes) + offset

    def extra_repr(self) -> str:
        return f"codes=[{self.codes.qmin}, {self.codes.qmax}]"


def least_squares_range(histogram: Histogram, codes: Codes) -> tuple[float, float]:
    """The ends of the grid with the least squared error on the stream: first the upper one, then the lower one, twice.

    Candidates are 1%, 2%, ... 100% of the range, measured from the other end.
    """
    low, high = histogram.low, histogram.high
    width = (high - low) / BINS
    values = low + width * (torch.arange(BINS, dtype=torch.float64) + 0.5)

    def best(lows: Tensor, highs: Tensor) -> int:
        step = ((highs - lows) / codes.qmax)[:, None]
        rounded = ((values - lows[:, None]) / step).round_().clamp_(0, codes.qmax).mul_(step).add_(lows[:, None])
        return int(((rounded - values).square_() @ histogram.counts).argmin())

    for _ in range(2):
        highs = low + _SHARES * (histogram.high - low)
        high = highs[best(torch.full_like(highs, low), highs)].item()
        lows = high - _SHARES * (high - histogram.low)
        low = lows[best(lows, torch.full_like(lows, high))].item()
    return low, high


def _weights(weight: Tensor, scheme: Scheme) -> nn.Module:
    rows, shape = share_a_step(weight, scheme)
    mean, deviation = rows.mean(1), rows.std(1, correction=0)
    step = (mean.abs() + 3 * deviation) / 2 ** (scheme.weight_bits - 1)
    return LSQWeights(scheme.weight_bits, nonzero(step).view(shape))


@torch.no_grad()
def _observe(quantizer: nn.Module, histogram: Histogram, scheme: Scheme) -> None:
    assert isinstance(quantizer, LSQPlusActivations)
    low, high = least_squares_range(histogram, quantizer.codes)
    quantizer.step.copy_(nonzero(torch.tensor((high - low) / quantizer.codes.qmax)))
    quantizer.offset.fill_(low)


LSQ_PLUS = Method(
    description="LSQ+: learned steps, and learned offsets of activations that go below zero, for training.",
    weight_bits=range(2, 9),
    act_bits=range(2, 9),
    weights=_weights,
    inputs=lambda scheme: LSQPlusActivations(scheme.act_bits),
    observe=_observe,
)
