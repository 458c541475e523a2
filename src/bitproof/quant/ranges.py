"""Range rules: which part of a tensor's values the grid should span.

A rule maps the values of one tensor, or of each channel, to (low, high). For activations the values of
a whole calibration set are needed; they are summarised by a `Histogram` that is exact in its extremes
and does not depend on the batch size, so a rule sees the same numbers however the set was batched.
The tables of all rules are in `range_rules.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

BINS = 8192

SMOOTHING = 0.99
"""What a moving average keeps at each image."""


@dataclass(frozen=True, kw_only=True)
class RangeSettings:
    """What a rule may need to know: the grid that will span the range, and the share that "percentile" keeps."""

    bits: int
    symmetric: bool
    percentile: float


class Histogram:
    """Counts of a stream of values in equal bins over a range known beforehand.

    Args:
        low, high: the smallest and largest value of the stream (from a first pass over it).

    Attributes:
        moving: the exponential moving average of each image's extremes; None before the first.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high
        self.counts = torch.zeros(BINS, dtype=torch.float64)
        self._count = 0
        self._magnitude = 0.0
        self.moving: tuple[float, float] | None = None

    def add(self, values: Float[Tensor, "n ..."]) -> None:
        """Count more values, those of `n` images."""
        values = values.detach().float().cpu()
        images = values.reshape(len(values), -1)
        for extremes in zip(images.amin(1).tolist(), images.amax(1).tolist(), strict=True):
            kept = self.moving or extremes
            low, high = (SMOOTHING * a + (1 - SMOOTHING) * b for a, b in zip(kept, extremes, strict=True))
            self.moving = low, high
        self._count += values.numel()
        self._magnitude += values.abs().sum(dtype=torch.float64).item()
        if self.high > self.low:
            self.counts += torch.histc(values, BINS, self.low, self.high).double()

    def mean_abs(self) -> float:
        """The mean magnitude of the stream, exactly (not from the bins); 0 for an empty one."""
        return self._magnitude / max(self._count, 1)

    def quantile(self, share: float) -> float:
        """The value below which `share` (0..1) of the stream lies, within one bin (range / 8192)."""
        if not self.counts.any():
            return self.low
        cumulative = self.counts.cumsum(0)
        edge = int(torch.searchsorted(cumulative, share * float(cumulative[-1])))
        step = (self.high - self.low) / BINS
        return self.low + step * min(edge + (share > 0.5), BINS)

    def bins(self) -> tuple[Float[Tensor, " bins"], Float[Tensor, " bins"]]:
        """Midpoint of each bin and its share of the stream; one bin for a constant stream."""
        if not self.counts.any():
            return torch.tensor([self.low], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        step = (self.high - self.low) / BINS
        midpoints = self.low + step * (torch.arange(BINS, dtype=torch.float64) + 0.5)
        return midpoints, self.counts / self.counts.sum()

    def mean(self) -> float:
        """The mean of the stream, within half a bin."""
        values, shares = self.bins()
        return float(values @ shares)

    def std(self) -> float:
        """The (population) standard deviation of the stream, within half a bin."""
        values, shares = self.bins()
        return float((values - self.mean()).square() @ shares) ** 0.5

    def mean_abs_deviation(self) -> float:
        """The mean distance of the stream's values from their mean, within a bin."""
        values, shares = self.bins()
        return float((values - self.mean()).abs() @ shares)


def minmax_tensor(values: Float[Tensor, "rows n"], settings: RangeSettings) -> tuple[Tensor, Tensor]:
    """The extremes of each row, [rows] each."""
    return values.amin(1), values.amax(1)


def percentile_tensor(values: Float[Tensor, "rows n"], settings: RangeSettings) -> tuple[Tensor, Tensor]:
    """The two-sided percentile of each row: `percentile` % of the values lie inside (linear interpolation)."""
    tail = (1 - settings.percentile / 100) / 2
    ordered = values.sort(dim=1).values
    return _interpolate(ordered, tail), _interpolate(ordered, 1 - tail)


def _interpolate(ordered: Float[Tensor, "rows n"], share: float) -> Float[Tensor, " rows"]:
    position = share * (ordered.shape[1] - 1)
    below = int(position)
    above = min(below + 1, ordered.shape[1] - 1)
    return torch.lerp(ordered[:, below], ordered[:, above], position - below)


def minmax_stream(histogram: Histogram, settings: RangeSettings) -> tuple[float, float]:
    """The extremes of the stream."""
    return histogram.low, histogram.high


def moving_average_stream(histogram: Histogram, settings: RangeSettings) -> tuple[float, float]:
    """The exponential moving average of each image's extremes, in the order of the images.

    Jacob et al. 2018 (arXiv 1712.05877), Section 3.1, there over the batches of a training run; over images it
    does not depend on the batch size. One outlier moves it by a hundredth of its excess.
    """
    return histogram.moving or (histogram.low, histogram.high)


def percentile_stream(histogram: Histogram, settings: RangeSettings) -> tuple[float, float]:
    """The two-sided percentile of the stream. A stream of values >= 0 (after a ReLU) is cut above only."""
    outside = 1 - settings.percentile / 100
    if histogram.low >= 0:
        return 0.0, histogram.quantile(1 - outside)
    return histogram.quantile(outside / 2), histogram.quantile(1 - outside / 2)


TensorRule = Callable[[Tensor, RangeSettings], tuple[Tensor, Tensor]]
StreamRule = Callable[[Histogram, RangeSettings], tuple[float, float]]
