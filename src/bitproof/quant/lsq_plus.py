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
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.ste import scale_gradient
from bitproof.quant.codes import CodeGrid, Codes
from bitproof.quant.grid import check_granularity, share_a_grid
from bitproof.quant.lsq import LSQWeights, learned_step, nonzero
from bitproof.quant.method import Method
from bitproof.quant.quantizer import InputQuantizer, WeightQuantizer
from bitproof.quant.ranges import BINS, Histogram

_SHARES = torch.linspace(0.01, 1, 100, dtype=torch.float64)


class LSQPlusActivations(InputQuantizer):
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
        offset = scale_gradient(self.offset, g)
        return learned_step(x - offset, self.step, self.codes, share=g) + offset

    def code_grid(self) -> CodeGrid | str:
        if self.offset != 0:
            return f"its learned offset {self.offset.item():.4g} leaves no level at zero"
        return CodeGrid(scale=self.step.abs(), zero_point=0, codes=self.codes)

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


@dataclass(frozen=True, kw_only=True)
class LSQPlus(Method):
    """LSQ+: learned steps, and learned offsets of activations that go below zero, for training.

    Attributes:
        granularity: one step of weights a "tensor" or one an output "channel".
    """

    name = "lsq+"
    weight_bits = range(2, 9)
    act_bits = range(2, 9)
    observes = True

    granularity: str = "channel"

    def __post_init__(self) -> None:
        check_granularity(self.granularity)

    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        rows, shape = share_a_grid(weight, self.granularity)
        mean, deviation = rows.mean(1), rows.std(1, correction=0)
        step = (mean.abs() + 3 * deviation) / 2 ** (bits - 1)
        return LSQWeights(bits, nonzero(step).view(shape))

    @torch.no_grad()
    def inputs(self, bits: int, received: Histogram | None = None) -> InputQuantizer:
        quantizer = LSQPlusActivations(bits)
        if received is not None:
            low, high = least_squares_range(received, quantizer.codes)
            quantizer.step.copy_(nonzero(torch.tensor((high - low) / quantizer.codes.qmax)))
            quantizer.offset.fill_(low)
        return quantizer
