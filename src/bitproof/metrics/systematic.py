"""Robustness to decoders, resizes and runtimes (Xiao et al. 2023, RobustMQ, Section 3.2.3)."""

import numpy as np

from bitproof.metrics.intervals import Scores
from bitproof.metrics.metric import DROP_BOUNDS, RATE, Metric, Selection, correct
from bitproof.metrics.statistic import DEBIASED_SPREAD, DROP, SPREAD


def _clean_and_mean(selection: Selection) -> Scores:
    clean, *shifted = selection.correct
    return np.stack([clean, np.mean(shifted, axis=0)])


def _mean(selection: Selection) -> Scores:
    return np.mean(selection.correct, axis=0, keepdims=True)


SPREAD_BOUNDS = (0.0, 0.5**0.5)
"""The greatest is that of two conditions, one always right and one never."""

ACC_S = Metric(
    name="acc-s",
    symbol="ACC_s",
    description="mean accuracy over decoders and resizes",
    source="Xiao et al. 2023, Table 9",
    higher_is_better=True,
    bounds=RATE,
    needs=("systematic",),
    scores=_mean,
)
SNI = Metric(
    name="sni",
    symbol="SNI",
    description="systematic noise impact: share of the clean accuracy lost, on average, to decoders and resizes",
    source="Xiao et al. 2023, Eq. 11, with the mean over noises of Table 9",
    higher_is_better=False,
    bounds=DROP_BOUNDS,
    needs=("clean", "systematic"),
    scores=_clean_and_mean,
    statistic=DROP,
)
SNI_NOISE = Metric(
    name="sni-noise",
    symbol="SNI",
    description="systematic noise impact of one decoder or resize: share of the clean accuracy that is lost to it",
    source="Xiao et al. 2023, Eq. 11",
    higher_is_better=False,
    bounds=DROP_BOUNDS,
    needs=("clean", "systematic"),
    each=True,
    scores=_clean_and_mean,
    statistic=DROP,
)
SR = Metric(
    name="sr",
    symbol="SR",
    description="systematic robustness: sample standard deviation of the accuracies over decoders and resizes, "
    "which chance makes larger than it is in truth",
    source="Xiao et al. 2023, Eq. 12, with n - 1 as in Table 10",
    higher_is_better=False,
    bounds=SPREAD_BOUNDS,
    needs=("systematic",),
    least=2,
    scores=correct,
    statistic=SPREAD,
)
SR_DEBIASED = Metric(
    name="sr-debiased",
    symbol="SR-d",
    description="true systematic robustness: SR less what chance adds to it, the fewer the examples the more",
    source="Xiao et al. 2023, Eq. 12, with its noise subtracted from its square",
    higher_is_better=False,
    bounds=SPREAD_BOUNDS,
    needs=("systematic",),
    least=2,
    scores=correct,
    statistic=DEBIASED_SPREAD,
)
