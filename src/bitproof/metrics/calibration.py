"""Calibration: whether a model is right as often as it claims (Guo et al. 2017, arXiv 1706.04599)."""

import math

import numpy as np
from jaxtyping import Float, Float64

from bitproof.metrics.intervals import Interval, Scores, normal_quantile
from bitproof.metrics.metric import RATE, Metric, Selection
from bitproof.metrics.statistic import Statistic

BINS = 15
"""Of equal width, as in Table 1 of the paper: ((m - 1) / 15, m / 15]."""


def _gaps(selection: Selection) -> Float64[np.ndarray, "bins n"]:
    """What an example adds to the gap of its bin: its confidence, less 1 if it is right. 0 in all other bins."""
    (clean,) = selection.cells
    confidences = clean.confidences.astype(np.float64)
    bins = np.ceil(confidences * BINS).clip(1, BINS).astype(int) - 1
    return np.where(np.arange(BINS)[:, None] == bins, confidences - clean.correct, 0.0)


def _sum_of_sizes(means: Float[np.ndarray, "*draws bins"]) -> Float[np.ndarray, "*draws"]:
    return np.asarray(np.abs(means).sum(axis=-1))


def _interval(gaps: Scores, confidence: float) -> Interval:
    """Of the calibration error that infinitely many examples would show.

    A bin's gap has a standard error e. Its size is too large by sqrt(2 / pi) e on average where the true gap is 0, by
    less elsewhere, never too small, and varies by at most e. So the sum may be too large by what all bins can add, and
    has at most the root of the summed squares as its own error. A bin that is not empty is given an example that is
    right and one that is wrong beside those seen.
    """
    n = gaps.shape[1]
    seen = gaps.any(axis=1) | (np.arange(BINS) == BINS - 1)  # a gap of 0 may be an example of confidence 1
    centres = (np.arange(BINS) + 0.5) / BINS
    further = np.where(seen, centres**2 + (1 - centres) ** 2, 0.0)
    variances = ((gaps**2).sum(axis=1) + further) / (n + 2) - gaps.mean(axis=1) ** 2
    errors = np.sqrt(variances.clip(min=0) / (n + 2))
    found, half = float(_sum_of_sizes(gaps.mean(axis=1))), normal_quantile(confidence) * math.hypot(*errors)
    return found - math.sqrt(2 / math.pi) * float(errors.sum()) - half, found + half


ECE = Metric(
    name="ece",
    symbol="ECE",
    description=f"expected calibration error: mean gap between confidence and accuracy in {BINS} bins of confidence",
    source="Guo et al. 2017, Eq. 3",
    higher_is_better=False,
    bounds=RATE,
    needs=("clean",),
    scores=_gaps,
    statistic=Statistic(value=_sum_of_sizes, interval=_interval),
)
