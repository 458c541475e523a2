"""Noise corruptions (Hendrycks & Dietterich 2019, ImageNet-C and CIFAR-10-C)."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8, UInt32
from numpy.random import Generator

from bitproof.shifts.base import Corruption, Picture, at_severity

_SIGMA = {"hendrycks-224": (0.08, 0.12, 0.18, 0.26, 0.38), "hendrycks-32": (0.04, 0.06, 0.08, 0.09, 0.10)}
_PHOTONS = {"hendrycks-224": (60, 25, 12, 5, 3), "hendrycks-32": (500, 250, 100, 75, 50)}
_AMOUNT = {"hendrycks-224": (0.03, 0.06, 0.09, 0.17, 0.27), "hendrycks-32": (0.01, 0.02, 0.03, 0.05, 0.07)}
_SPECKLE = {"hendrycks-224": (0.15, 0.2, 0.35, 0.45, 0.6), "hendrycks-32": (0.06, 0.1, 0.12, 0.16, 0.2)}


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Corruption):
    """Adds independent normal noise to every value."""

    name: ClassVar[str] = "gaussian noise"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        sigma, _ = at_severity(_SIGMA, self, picture)
        noise = generator.standard_normal(picture.shape, np.float32)
        noise *= sigma
        noise += picture
        return noise


@dataclass(frozen=True, kw_only=True)
class ShotNoise(Corruption):
    """Replaces every value x by a Poisson count of mean c x, divided by c: the noise of few photons.

    The counts are drawn by inverting the distribution function, which is tabulated for the 256 grey levels.
    A value between two levels takes the count of the lower one plus an independent one for the rest.
    """

    name: ClassVar[str] = "shot noise"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        photons, _ = at_severity(_PHOTONS, self, picture)
        values = (picture * 255).ravel()
        levels = (values + 1e-3).astype(np.uint8)
        counts = poisson(levels, generator.integers(0, 2**32, values.size, np.uint32), photons)
        rest = values - levels
        between = np.flatnonzero(rest > 1e-3)
        if between.size:
            counts[between] += generator.poisson(rest[between] * (photons / 255))
        return counts.astype(np.float32).reshape(picture.shape) / np.float32(photons)


@dataclass(frozen=True, kw_only=True)
class ImpulseNoise(Corruption):
    """Salt and pepper: a share of the values becomes 0 or 1, with equal chances."""

    name: ClassVar[str] = "impulse noise"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        amount, _ = at_severity(_AMOUNT, self, picture)
        chance = generator.random(picture.shape, np.float32)
        return np.where(chance < amount, (chance < amount / 2).astype(np.float32), picture)


@dataclass(frozen=True, kw_only=True)
class SpeckleNoise(Corruption):
    """Adds normal noise in proportion to the value."""

    name: ClassVar[str] = "speckle noise"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        sigma, _ = at_severity(_SPECKLE, self, picture)
        noise = generator.standard_normal(picture.shape, np.float32)
        noise *= sigma
        noise += 1
        noise *= picture
        return noise


_GUIDE_BITS = 12


def poisson(levels: UInt8[np.ndarray, " n"], bits: UInt32[np.ndarray, " n"], photons: float) -> np.ndarray:
    """Poisson counts of mean photons * level / 255, exact to 2**-32, from 32 uniform random bits each.

    The leading bits look up a count that is at most too small, and rarely so; comparisons correct it.
    """
    lasts, guide = _poisson_table(photons)
    counts = guide.ravel().take(levels.astype(np.int64) << _GUIDE_BITS | bits >> (32 - _GUIDE_BITS))
    rows = levels.astype(np.int64) * lasts.shape[1]
    unsure = np.flatnonzero(bits > lasts.ravel().take(rows + counts))
    while unsure.size:
        counts[unsure] += 1
        unsure = unsure[bits[unsure] > lasts.ravel().take(rows[unsure] + counts[unsure])]
    return counts


@lru_cache(maxsize=8)
def _poisson_table(photons: float) -> tuple[np.ndarray, np.ndarray]:
    """The last bits that give each count [256, counts], and the count at the start of each guide bin [256, 2**12]."""
    from scipy.special import pdtr

    most = int(photons + 8 * photons**0.5 + 16)
    rates = np.arange(256) / 255 * photons
    lasts = np.maximum(np.floor(pdtr(np.arange(most), rates[:, None]) * 2**32) - 1, 0).astype(np.uint32)
    lasts[:, -1] = 2**32 - 1
    starts = (np.arange(2**_GUIDE_BITS) << (32 - _GUIDE_BITS)).astype(np.uint32)
    return lasts, np.stack([row.searchsorted(starts) for row in lasts]).astype(np.int32)
