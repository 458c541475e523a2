"""PWLQ, piecewise linear quantization (Fang et al. 2020, arXiv 2002.00104).

The weights of one output channel (or tensor), m = max|w|, are cut at a breakpoint p in (0, m):

    middle |w| < p          b bits, symmetric: step p / (2^(b-1) - 1)
    tails  p <= |w| <= m    non-overlapping: (b-1) bits each, affine on [p, m]: step (m - p) / (2^(b-1) - 1)
                            overlapping: b bits, symmetric on [-m, m], of which the middle is unused

Each piece has b bits, and one more says which piece: **b-bit PWLQ has up to 2^(b+1) - 3 levels**, as many as
a uniform grid of b + 1 bits. Compare it with b + 1 bits as well.

The breakpoint, with m in units of the standard deviation sigma of the weights:

    search    p with the least squared error of this quantizer: the best of 0.01 m, ..., 0.99 m, then the best in steps
              of 0.001 m around it
    gauss     p = ln(0.86143114 m + 0.60790110)           approximate solutions of
    laplace   p = 0.80304483 sqrt(m) - 0.31667855         p - 2m + 2m F(p) + m f(p) (2p - m) = 0

where the equation sets the derivative of the expected error to zero, non-overlapping, with F and f the distribution.
The authors search in three stages, by tenths, hundredths and thousandths of m. Over the layers of ResNet20 the squared
error of an exhaustive search by thousandths is exceeded, at 4 / 6 / 8 bits, by .0 / .8 / 2.9% here and by
.2 / .9 / 3.1% there (by .4 / 2.9 / 5.9% with hundredths alone). They can also solve the equation itself, and have sigma
over n - 1 weights.

Bias correction: q <- (q + mean(w) - mean(q)) sigma(w) / sigma(q), from the float weights, so that zero is no longer
a level. Breakpoint and correction are fixed when the quantizer is made.

Activations get a uniform grid that ends at the median of the 10 largest (and smallest) values. The authors
take the median in each batch of 4 images and average; here it is that of the whole calibration set, within
a bin of its histogram, so that it does not depend on the batching. That is what the range rule "minmax" means here;
the other rules do what they do elsewhere, and at 4 bits and less "omse" is much better.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.errors import InputError, lookup
from bitproof.quant.affine import affine_inputs
from bitproof.quant.codes import Codes
from bitproof.quant.grid import affine_grid, check_granularity, fake_quantize
from bitproof.quant.method import Method
from bitproof.quant.omse import least
from bitproof.quant.quantizer import InputQuantizer, WeightQuantizer
from bitproof.quant.range_rules import DEFAULT_PERCENTILE, check_ranges
from bitproof.quant.ranges import Histogram, RangeSettings

SHARES = tuple(percent / 100 for percent in range(1, 100))
NEARBY = (0.0, *(sign * step / 1000 for step in range(1, 10) for sign in (-1, 1)))
"""Where the search looks: at these parts of m, then at these distances from the best of them."""
TOP = 10
BREAKPOINTS = ("search", "gauss", "laplace")


def piecewise(
    rows: Float[Tensor, "rows n"],
    breakpoint: Float[Tensor, "rows 1"],
    largest: Float[Tensor, "rows 1"],
    *,
    bits: int,
    overlapping: bool,
) -> Float[Tensor, "rows n"]:
    """Round each row onto its two grids, below and above its breakpoint, without correction."""
    codes = Codes.of(bits, symmetric=True)
    middle = fake_quantize(rows, *affine_grid(-breakpoint, breakpoint, codes, symmetric=True), codes)
    if overlapping:
        tails = fake_quantize(rows, *affine_grid(-largest, largest, codes, symmetric=True), codes)
    else:
        width = Codes.of(bits - 1, symmetric=False)
        scale, zero_point = affine_grid(torch.zeros_like(largest), largest - breakpoint, width, symmetric=False)
        tails = rows.sign() * (breakpoint + fake_quantize(rows.abs() - breakpoint, scale, zero_point, width))
    return torch.where(rows.abs() < breakpoint, middle, tails)


def piecewise_neighbours(
    rows: Float[Tensor, "rows n"], breakpoint: Float[Tensor, "rows 1"], largest: Float[Tensor, "rows 1"], *, bits: int
) -> tuple[Float[Tensor, "rows n"], Float[Tensor, "rows n"]]:
    """The levels of non-overlapping pieces next to each weight, towards zero and away from it."""
    top = 2 ** (bits - 1) - 1
    size = rows.abs()
    middle, tail = breakpoint / top, (largest - breakpoint) / top
    tail = torch.where(tail > 0, tail, torch.ones_like(tail))
    inner = (size / middle.clamp(min=torch.finfo(rows.dtype).tiny)).floor().clamp(max=top - 1)
    outer = ((size - breakpoint) / tail).floor().clamp(0, top - 1)
    is_middle = size < breakpoint
    near = torch.where(is_middle, inner * middle, breakpoint + outer * tail)
    far = torch.where(is_middle, (inner + 1) * middle, breakpoint + (outer + 1) * tail)
    return rows.sign() * near, rows.sign() * far.minimum(largest)


def gauss_breakpoint(ratio: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Near-optimal p / sigma of normally distributed weights, from m / sigma (non-overlapping)."""
    return (0.86143114 * ratio + 0.60790110).log()


def laplace_breakpoint(ratio: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Near-optimal p / sigma of Laplace-distributed weights, from m / sigma (non-overlapping)."""
    return 0.80304483 * ratio.sqrt() - 0.31667855


class PwlqWeights(WeightQuantizer):
    """Weights onto the piecewise grid of each row, bias-corrected; the gradient passes unchanged.

    Args:
        weight: the float weight, which fixes breakpoints and correction.
        breakpoint: a name in `BREAKPOINTS`.
        by_channel: one grid for each weight[i], else one for the tensor.
    """

    breakpoint: Tensor
    largest: Tensor
    shift: Tensor
    gain: Tensor

    def __init__(self, weight: Tensor, *, bits: int, breakpoint: str, overlapping: bool, by_channel: bool) -> None:
        super().__init__()
        self.bits = bits
        self.overlapping = overlapping
        self.by_channel = by_channel
        rows = self._rows(weight.detach())
        largest = rows.abs().amax(1, keepdim=True)
        sigma = rows.std(1, correction=0, keepdim=True)

        def rounded(at: Tensor) -> Tensor:
            return piecewise(rows, at, largest, bits=bits, overlapping=overlapping)

        def error(share: Tensor | float) -> Tensor:
            return (rounded(share * largest) - rows).square().sum(1)

        if breakpoint == "search":
            coarse = least(error, SHARES)[:, None]
            at = largest * (coarse + least(lambda nearby: error(coarse + nearby), NEARBY)[:, None])
        else:
            rule = {"gauss": gauss_breakpoint, "laplace": laplace_breakpoint}[breakpoint]
            at = sigma * rule(largest / sigma)
            at = torch.where(sigma > 0, at, largest).clamp(min=0).minimum(largest)  # equal weights: all in the middle
        q = rounded(at)
        spread = q.std(1, correction=0, keepdim=True)
        self.register_buffer("breakpoint", at)
        self.register_buffer("largest", largest)
        self.register_buffer("shift", rows.mean(1, keepdim=True) - q.mean(1, keepdim=True))
        self.register_buffer("gain", torch.where(spread > 0, sigma / spread, torch.ones_like(spread)))

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        with torch.no_grad():
            rows = self._rows(weight)
            q = piecewise(rows, self.breakpoint, self.largest, bits=self.bits, overlapping=self.overlapping)
            q = ((q + self.shift) * self.gain).view_as(weight)
        return q + (weight - weight.detach())  # adds zero, and the gradient

    def neighbours(self, weight: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Two weights that round to the levels next to each weight, towards zero and away from it.

        Raises:
            InputError: overlapping pieces, whose levels are not those next to each other.
        """
        if self.overlapping:
            raise InputError(
                "weights on overlapping pieces",
                rule="rounding is learned between the two levels next to a weight",
                remedy="Use overlapping=False, or rounding 'nearest'",
            )
        near, far = piecewise_neighbours(self._rows(weight), self.breakpoint, self.largest, bits=self.bits)
        return near.view_as(weight), far.view_as(weight)

    def code_scale(self, weight: Float[Tensor, "out ..."]) -> Tensor | str:
        return "its weights lie on two grids a channel, and integer kernels have one scale a channel"

    def _rows(self, weight: Tensor) -> Tensor:
        return weight.flatten(1) if self.by_channel else weight.reshape(1, -1)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, overlapping={self.overlapping}, by_channel={self.by_channel}"


def top_range(histogram: Histogram) -> tuple[float, float]:
    """The medians (the lower one, as torch's) of the 10 smallest and the 10 largest values; from 0 after a ReLU."""
    count = float(histogram.counts.sum())
    rank = (min(TOP, count) - 1) // 2  # values that lie before the median of the smallest, or of the largest ones
    low = histogram.quantile((rank + 0.5) / count) if count else histogram.low
    high = histogram.quantile(1 - (min(TOP, count) - rank - 0.5) / count) if count else histogram.high
    return (0.0 if histogram.low >= 0 else low), high


@dataclass(frozen=True, kw_only=True)
class PWLQ(Method):
    """Piecewise linear weights of 2^(b+1) levels, post-training.

    Attributes:
        breakpoint: where the pieces meet: a name in `BREAKPOINTS`.
        overlapping: whether the tails' grid spans the middle too; "gauss" and "laplace" are derived for tails that do
            not.
        granularity: one pair of grids a "tensor" or one an output "channel".
        act_symmetric: whether the grids of activations are symmetric around zero.
        act_range: a name in `bitproof.quant.range_rules.ACT_RANGES`; "minmax" is the paper's median of the top 10.
        percentile: how many percent of the activations lie inside a "percentile" range.

    Raises:
        InputError: an unknown name, or a breakpoint for the other kind of pieces.
    """

    name = "pwlq"
    weight_bits = range(2, 9)
    act_bits = range(2, 9)
    observes = True

    breakpoint: str = "search"
    overlapping: bool = False
    granularity: str = "channel"
    act_symmetric: bool = False
    act_range: str = "minmax"
    percentile: float = DEFAULT_PERCENTILE

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(BREAKPOINTS), self.breakpoint, "breakpoint")
        check_granularity(self.granularity)
        check_ranges(act_range=self.act_range, percentile=self.percentile)
        if self.overlapping and self.breakpoint != "search":
            raise InputError(
                f"breakpoint {self.breakpoint!r} of overlapping pieces",
                rule="it is where the expected error of pieces that do not overlap is least",
                remedy="Use breakpoint 'search', or overlapping=False",
            )

    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        return PwlqWeights(
            weight,
            bits=bits,
            breakpoint=self.breakpoint,
            overlapping=self.overlapping,
            by_channel=self.granularity == "channel",
        )

    def inputs(self, bits: int, received: Histogram | None = None) -> InputQuantizer:
        span = RangeSettings(bits=bits, symmetric=self.act_symmetric, percentile=self.percentile)
        if self.act_range != "minmax" or received is None:
            return affine_inputs(span, received, act_range=self.act_range)
        quantizer = affine_inputs(span, None, act_range=self.act_range)
        low, high = top_range(received)
        quantizer.set_range(torch.tensor(low), torch.tensor(high))
        return quantizer
