"""Calibration: whether a model is right as often as it claims (Guo et al. 2017, arXiv 1706.04599)."""

import numpy as np
from jaxtyping import Float, Float64

from bitproof.metrics.metric import RATE, Metric, Selection

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


ECE = Metric(
    name="ece",
    symbol="ECE",
    description=f"expected calibration error: mean gap between confidence and accuracy in {BINS} bins of confidence",
    source="Guo et al. 2017, Eq. 3",
    higher_is_better=False,
    bounds=RATE,
    needs=("clean",),
    scores=_gaps,
    value=_sum_of_sizes,
    inflated=True,  # a bin of few examples has a gap by chance, whatever the model claims
)
