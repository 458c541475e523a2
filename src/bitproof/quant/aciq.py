"""ACIQ, analytical clipping for integer quantization (Banner, Nahshan & Soudry 2019, arXiv 1810.05723).

A tensor with density f around its mean is clipped to [mean - a, mean + a] and rounded to 2^M levels. The
expected squared error is clipping plus rounding,

    Laplace(b)    2 b^2 e^(-a/b)                                        + a^2 / (3 4^M)
    Gauss(sigma)  2 [(sigma^2 + a^2) Q(a/sigma) - a sigma phi(a/sigma)] + a^2 / (3 4^M)

with Q and phi the tail and density of the standard normal. The minimum solves

    Laplace  (a/b) e^(a/b) = 3 4^M,  so  a = b W(3 4^M)  with Lambert's W;  b = E|x - mean|
    Gauss    phi(t) - t Q(t) = t / (6 4^M),  a = t sigma

After a ReLU (a stream without negative values) only the positive half of the density is left. All 2^M levels
then lie in [0, a], so the step is half as long and the rounding term a quarter: the equations for M + 1 bits (the
paper's case of fused ReLU; the authors' code has it as a second table, shifted by one). The zeros cost nothing
and say nothing about b or sigma, which are estimated from the positive values: b = E[x | x > 0], the mean of an
exponential; sigma^2 = E[x^2 | x > 0]. That departs from the authors' code and its copies, which take b and sigma of
all values, the zeros among them: six tenths of this range where half of the values are zeros. A symmetric grid spends
half of its levels on negative values; for it the equations keep their M.

A range never exceeds the extremes of the values.
"""

from functools import cache
from math import erfc, exp, pi, sqrt

import torch
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import lambertw
from torch import Tensor

from bitproof.quant.ranges import Histogram, RangeSettings


@cache
def laplace_clip(bits: int) -> float:
    """The best a / b for 2^bits levels: 2.83 at 2 bits to 9.90 at 8."""
    return float(lambertw(3 * 4**bits).real)


@cache
def gauss_clip(bits: int) -> float:
    """The best a / sigma for 2^bits levels: 1.71 at 2 bits to 3.92 at 8."""

    def slope(t: float) -> float:
        return t / (6 * 4**bits) + t * erfc(t / sqrt(2)) / 2 - exp(-t * t / 2) / sqrt(2 * pi)

    return float(brentq(slope, 0, 10))  # pyright: ignore


def laplace_tensor(values: Float[Tensor, "rows n"], settings: RangeSettings) -> tuple[Tensor, Tensor]:
    """The range of each row for Laplace-distributed values."""
    mean = values.mean(1)
    return _around(values, mean, laplace_clip(settings.bits) * (values - mean[:, None]).abs().mean(1))


def gauss_tensor(values: Float[Tensor, "rows n"], settings: RangeSettings) -> tuple[Tensor, Tensor]:
    """The range of each row for normally distributed values."""
    return _around(values, values.mean(1), gauss_clip(settings.bits) * values.std(1, correction=0))


def laplace_stream(histogram: Histogram, settings: RangeSettings) -> tuple[float, float]:
    """The range for a stream of Laplace-distributed values, or for their positive half."""
    if histogram.low >= 0:
        values, shares = _positive(histogram)
        return 0.0, min(laplace_clip(_one_sided_bits(settings)) * float(values @ shares), histogram.high)
    return _within(histogram, laplace_clip(settings.bits) * histogram.mean_abs_deviation())


def gauss_stream(histogram: Histogram, settings: RangeSettings) -> tuple[float, float]:
    """The range for a stream of normally distributed values, or for their positive half."""
    if histogram.low >= 0:
        values, shares = _positive(histogram)
        return 0.0, min(gauss_clip(_one_sided_bits(settings)) * float(values.square() @ shares) ** 0.5, histogram.high)
    return _within(histogram, gauss_clip(settings.bits) * histogram.std())


def _around(values: Tensor, mean: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    return torch.maximum(mean - reach, values.amin(1)), torch.minimum(mean + reach, values.amax(1))


def _within(histogram: Histogram, reach: float) -> tuple[float, float]:
    return max(histogram.mean() - reach, histogram.low), min(histogram.mean() + reach, histogram.high)


def _one_sided_bits(settings: RangeSettings) -> int:
    return settings.bits if settings.symmetric else settings.bits + 1


def _positive(histogram: Histogram) -> tuple[Tensor, Tensor]:
    """Values and shares of what is above zero: all but the bin that starts at zero, if one does."""
    values, shares = histogram.bins()
    if histogram.low > 0 or len(values) == 1:
        return values, shares
    return values[1:], shares[1:] / shares[1:].sum()
