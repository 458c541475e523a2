"""OMSE: the range with the least squared error (Choukroun et al. 2019, arXiv 1902.06822).

    alpha* = argmin ||x - Q(x; alpha low, alpha high)||^2    over alpha in {0.01, 0.02, ..., 1}

where [low, high] are the extremes, widened to hold zero, and Q is the quantizer that will be used. The error
is measured, not modelled. Of equal errors the widest range is taken.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.quant.codes import Codes
from bitproof.quant.grid import affine_grid, fake_quantize
from bitproof.quant.ranges import Histogram, RangeSettings

SHARES = tuple(percent / 100 for percent in range(100, 0, -1))


def omse_tensor(values: Float[Tensor, "rows n"], settings: RangeSettings) -> tuple[Tensor, Tensor]:
    """The range of each row with the least squared error."""
    return _search(values, torch.ones_like(values), settings)


def omse_stream(histogram: Histogram, settings: RangeSettings) -> tuple[float, float]:
    """The range of the stream with the least squared error, values taken at the middle of their bins."""
    values, shares = histogram.bins()
    extremes = torch.tensor([histogram.low, histogram.high], dtype=values.dtype)  # exact, of no weight in the error
    low, high = _search(
        torch.cat([values, extremes])[None], torch.cat([shares, torch.zeros_like(extremes)])[None], settings
    )
    return low.item(), high.item()


def _search(
    values: Float[Tensor, "rows n"], weights: Float[Tensor, "rows n"], settings: RangeSettings
) -> tuple[Tensor, Tensor]:
    low, high = values.amin(1).clamp(max=0), values.amax(1).clamp(min=0)
    codes = Codes.of(settings.bits, symmetric=settings.symmetric)

    def error(share: float) -> Tensor:
        scale, zero_point = affine_grid(share * low, share * high, codes, symmetric=settings.symmetric)
        rounded = fake_quantize(values, scale[:, None], zero_point[:, None], codes)
        return ((rounded - values).square() * weights).sum(1)

    best = least(error, SHARES)
    return best * low, best * high


def least(error: Callable[[float], Float[Tensor, " rows"]], candidates: tuple[float, ...]) -> Float[Tensor, " rows"]:
    """For each row the candidate of the smallest error, the first of equals."""
    smallest = error(candidates[0])
    best = torch.full_like(smallest, candidates[0])
    for candidate in candidates[1:]:
        here = error(candidate)
        best = torch.where(here < smallest, candidate, best)
        smallest = torch.minimum(here, smallest)
    return best
