"""Certificates of many quantized copies from those of one model (Ugare et al. 2023, IRS, arXiv 2305.19521).

A copy that answers otherwise than the model under at most a share zeta of the noise gives the model's class c with a
probability of at least p - zeta. Both are bounded from counts, each with half of alpha: p once, from many draws of the
model; zeta for each copy, from few draws that both are shown. Where copies agree with the model, few tell as much.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from bitproof.defences.certificate import lower_bound, radius, upper_bound
from bitproof.defences.smoothing import Smoothed, Smoothing
from bitproof.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """What is certain of some images.

    Attributes:
        classes: int64 [n], what is given most often; -1 where that is not certain.
        radii: float64 [n], in l2; 0 where nothing is certain.
        draws: that each image took.
    """

    classes: Int64[np.ndarray, " n"]
    radii: Float64[np.ndarray, " n"]
    draws: int


def incremental(
    smoothing: Smoothing,
    model: nn.Module,
    copies: Mapping[str, nn.Module],
    images: Float[Tensor, "n c h w"],
    *,
    paired: int = 1000,
) -> tuple[Certificates, dict[str, Certificates]]:
    """Certificates of a model, and of its copies by name.

    Args:
        smoothing: of all of them; its `draws` are those of the model alone.
        model: from which the copies were made.
        copies: such as quantized ones.
        images: clean.
        paired: draws that each copy, and the model again, is asked about.

    Raises:
        InputError: no paired draw.
    """
    if paired < 1:
        raise InputError(f"paired is {paired}", rule="each copy is compared on at least one draw", remedy="Use 1000")
    whole, half = smoothing(model), smoothing.alpha / 2
    chosen = whole.counts(images, "first", smoothing.first).argmax(1)
    counted = whole.counts(images, "counted", smoothing.draws)
    leading = np.take_along_axis(counted, chosen[:, None], 1)[:, 0]
    own = _certificates(smoothing, chosen, lower_bound(leading, smoothing.draws, smoothing.alpha), smoothing.draws)
    likely = lower_bound(leading, smoothing.draws, half)
    said, _ = whole.votes(images, "paired", paired)
    found = {}
    for name, copy in copies.items():
        behind: Smoothed = smoothing(copy)
        others, _ = behind.votes(images, "paired", paired)
        zeta = upper_bound((others != said).sum(1), paired, half)
        found[name] = _certificates(smoothing, chosen, likely - zeta, paired)
    return own, found


def _certificates(
    smoothing: Smoothing, chosen: Int64[np.ndarray, " n"], likely: Float64[np.ndarray, " n"], draws: int
) -> Certificates:
    radii = radius(likely, smoothing.sigma)
    return Certificates(classes=np.where(radii > 0, chosen, -1), radii=radii, draws=draws)
