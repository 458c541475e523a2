"""A model among random ones that are as good under the null hypothesis: exact p-values, for many statistics at once.

The statistics of all models are made comparable by median and spread of all of them together, the audited one among
them; then the largest of each model are compared (max-T, Westfall & Young 1993). As every model is treated alike, the
rank of the audited one is uniform under the null hypothesis, whatever the statistics and however they go together.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

MAD = 1.4826
"""Median absolute deviations that make a standard deviation of normal numbers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """What a comparison of one model with its draws says.

    Attributes:
        p_value: of the largest statistic, corrected for all: (1 + draws that reach it) / (1 + draws).
        p_values: the same of each statistic [s].
        z: robust distance of each from the median of the draws [s].
        above: number of draws whose largest statistic reaches that of the model.
        maxima: the largest statistic of each draw, standardised [k].
    """

    p_value: float
    p_values: Float64[np.ndarray, " s"]
    z: Float64[np.ndarray, " s"]
    above: int
    maxima: Float64[np.ndarray, " k"]

    def images(self, level: float) -> int:
        """How many images have to turn at least, for a share of images to reach a level among these draws.

        Where draws agree, a share is measured in single images: so this is what images can show at the best. It is
        known as well as so many draws tell it.

        Example:
            >>> ranked(np.array([0.0]), np.array([[0.0]] * 18 + [[0.25]]), np.array([0.05])).images(0.05)
            6
        """
        spared = max(1, math.floor(level * (1 + len(self.maxima)) + 1e-9))
        return math.floor(max(0.0, np.sort(self.maxima)[-spared]) + 1e-6) + 1


def ranked(
    found: Float64[np.ndarray, " s"], drawn: Float64[np.ndarray, "k s"], floors: Float64[np.ndarray, " s"]
) -> Ranked:
    """The model's statistics among those of its draws.

    Args:
        found: of the model; larger is more extreme.
        drawn: of the draws.
        floors: the smallest spread that each statistic is measured in.

    Example:
        >>> ranked(np.array([9.0]), np.arange(4.0)[:, None], np.ones(1)).p_value
        0.2
    """
    together = np.concatenate([found[None], drawn])
    largest = _standardised(together, together, floors)
    maxima = largest.max(1)
    reached = (maxima[1:, None] >= largest[0] - 1e-9).sum(0)
    above = int((maxima[1:] >= maxima[0] - 1e-9).sum())
    return Ranked(
        p_value=(1 + above) / (1 + len(drawn)),
        p_values=(1 + reached) / (1 + len(drawn)),
        z=_standardised(found[None], drawn, floors)[0],
        above=above,
        maxima=maxima[1:],
    )


def _standardised(
    values: Float64[np.ndarray, "m s"], among: Float64[np.ndarray, "k s"], floors: Float64[np.ndarray, " s"]
) -> Float64[np.ndarray, "m s"]:
    centre = np.median(among, 0)
    spread = MAD * np.median(np.abs(among - centre), 0)
    return (values - centre) / np.maximum(spread, floors)
