"""Range rules: which part of a tensor's values the grid should span.

A rule maps the values of one tensor, or of each channel, to (low, high). For activations the values of
a whole calibration set are needed; they are summarised by a `Histogram` that is exact in its extremes
and does not depend on the batch size, so a rule sees the same numbers however the set was batched.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

BINS = 8192


class Histogram:
    """Counts of a stream of values in equal bins over a range known beforehand.

    Args:
        low, high: the smallest and largest value of the stream (from a first pass over it).
    """

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high
        self.counts = torch.zeros(BINS, dtype=torch.float64)
        self._count = 0
        self._magnitude = 0.0

    def add(self, values: Float[Tensor, "..."]) -> None:
        """Count more values."""
        values = values.detach().float().cpu()
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


def minmax_tensor(values: Float[Tensor, "rows n"], percentile: float) -> tuple[Tensor, Tensor]:
    """The extremes of each row, [rows] each. `percentile` is not used."""
    return values.amin(1), values.amax(1)


def percentile_tensor(values: Float[Tensor, "rows n"], percentile: float) -> tuple[Tensor, Tensor]:
    """The two-sided percentile of each row: `percentile` % of the values lie inside (linear interpolation)."""
    tail = (1 - percentile / 100) / 2
    ordered = values.sort(dim=1).values
    return _interpolate(ordered, tail), _interpolate(ordered, 1 - tail)


def _interpolate(ordered: Float[Tensor, "rows n"], share: float) -> Float[Tensor, " rows"]:
    position = share * (ordered.shape[1] - 1)
    below = int(position)
    above = min(below + 1, ordered.shape[1] - 1)
    return torch.lerp(ordered[:, below], ordered[:, above], position - below)


def minmax_stream(histogram: Histogram, percentile: float) -> tuple[float, float]:
    """The extremes of the stream. `percentile` is not used."""
    return histogram.low, histogram.high


def percentile_stream(histogram: Histogram, percentile: float) -> tuple[float, float]:
    """The two-sided percentile of the stream. A stream of values >= 0 (after a ReLU) is cut above only."""
    outside = 1 - percentile / 100
    if histogram.low >= 0:
        return 0.0, histogram.quantile(1 - outside)
    return histogram.quantile(outside / 2), histogram.quantile(1 - outside / 2)


TensorRule = Callable[[Tensor, float], tuple[Tensor, Tensor]]
StreamRule = Callable[[Histogram, float], tuple[float, float]]

RANGES: dict[str, tuple[TensorRule, StreamRule]] = {
    "minmax": (minmax_tensor, minmax_stream),
    "percentile": (percentile_tensor, percentile_stream),
}
"""For each rule its form for weights (rows = channels) and for the stream of activations."""
