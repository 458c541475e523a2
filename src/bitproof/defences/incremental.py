"""Certificates of many quantized copies from those of one model (Ugare et al. 2023, IRS, arXiv 2305.19521).

A copy that answers otherwise than the model under at most a share zeta of the noise gives the model's class c with a
probability of at least p - zeta. Both are bounded from counts, each with half of alpha: p once, from many draws of the
model; zeta for each copy, from few draws that both are shown. Where copies agree with the model, few tell as much.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from bitproof.core.calling import device_of
from bitproof.data import Data
from bitproof.defences.base import different_classes
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

    Warns where noise changes most of the model's answers, as of one that was never trained on it.

    Raises:
        InputError: no paired draw, or a copy of other classes.
    """
    if paired < 1:
        raise InputError(f"paired is {paired}", rule="each copy is compared on at least one draw", remedy="Use 1000")
    whole, half = smoothing(model), smoothing.alpha / 2
    chosen = whole.counts(images, "first", smoothing.first).argmax(1)
    for doubt in whole.doubted(images, chosen):
        warnings.warn(doubt, stacklevel=2)
    counted = whole.counts(images, "counted", smoothing.draws)
    leading = np.take_along_axis(counted, chosen[:, None], 1)[:, 0]
    own = _certificates(smoothing, chosen, lower_bound(leading, smoothing.draws, smoothing.alpha), smoothing.draws)
    likely = lower_bound(leading, smoothing.draws, half)
    said, classes = whole.votes(images, "paired", paired)
    found = {}
    for name, copy in copies.items():
        behind: Smoothed = smoothing(copy)
        others, own_classes = behind.votes(images, "paired", paired)
        if own_classes != classes:
            raise different_classes([str(classes), str(own_classes)])
        zeta = upper_bound((others != said).sum(1), paired, half)
        found[name] = _certificates(smoothing, chosen, likely - zeta, paired)
    return own, found


def certified_rows(
    smoothing: Smoothing,
    model: nn.Module,
    copies: Mapping[str, nn.Module],
    data: Data,
    *,
    paired: int = 1000,
    radii: Sequence[float] = (0.0,),
) -> list[dict[str, Any]]:
    """`incremental` on labelled data in figures.

    Args:
        smoothing, model, copies, paired: as there.
        data: the examples; those that cannot be read are left out.
        radii: in l2, of which certified accuracy is wanted.

    Returns:
        Rows with model ("float" for the first), draws an image, certified at each radius (the share whose right class
        is certain within it), and radius, the mean over all examples, 0 where the right class is not certain.
    """
    if "float" in copies:
        raise InputError("a copy named 'float'", rule="that is the row of the model itself", remedy="Name it otherwise")
    if bad := [r for r in radii if not 0 <= r < float("inf")]:
        raise InputError(f"a radius of {bad[0]:g}", rule="it is a distance in l2", remedy="Use 0, 0.25 or 0.5")
    read = data.read(range(len(data)))
    labels = data.labels[read.rows]
    own, found = incremental(smoothing, model, copies, read.images.to(device_of(model)), paired=paired)
    rows: list[dict[str, Any]] = []
    for name, certificates in {"float": own, **found}.items():
        held = np.where(certificates.classes == labels, certificates.radii, 0.0)
        row: dict[str, Any] = {"model": name, "draws": certificates.draws}
        row |= {f"certified at {r:g}": float(((held >= r) & (held > 0)).mean()) for r in radii}
        rows.append({**row, "radius": round(float(held.mean()), 4)})
    return rows


def _certificates(
    smoothing: Smoothing, chosen: Int64[np.ndarray, " n"], likely: Float64[np.ndarray, " n"], draws: int
) -> Certificates:
    radii = radius(likely, smoothing.sigma)
    return Certificates(classes=np.where(radii > 0, chosen, -1), radii=radii, draws=draws)
