"""Robustness to decoders, resizes and runtimes (Xiao et al. 2023, RobustMQ, Section 3.2.3)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64

from bitproof.metrics.intervals import Scores
from bitproof.metrics.metric import DROP, RATE, Metric, Selection, correct, impact


def _clean_and_mean(selection: Selection) -> Scores:
    clean, *shifted = selection.correct
    return np.stack([clean, np.mean(shifted, axis=0)])


def sample_std(accuracies: Float[np.ndarray, "*draws k"] | Sequence[float]) -> Float64[np.ndarray, "*draws"]:
    """The standard deviation over the last axis with n - 1 in the denominator, as printed for Eq. 12."""
    return np.asarray(np.std(accuracies, axis=-1, ddof=1))


def _mean(selection: Selection) -> Scores:
    return np.mean(selection.correct, axis=0, keepdims=True)


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
    bounds=DROP,
    needs=("clean", "systematic"),
    scores=_clean_and_mean,
    value=impact,
)
SNI_NOISE = Metric(
    name="sni-noise",
    symbol="SNI",
    description="systematic noise impact of one decoder or resize: share of the clean accuracy that is lost to it",
    source="Xiao et al. 2023, Eq. 11",
    higher_is_better=False,
    bounds=DROP,
    needs=("clean", "systematic"),
    each=True,
    scores=_clean_and_mean,
    value=impact,
)
SR = Metric(
    name="sr",
    symbol="SR",
    description="systematic robustness: sample standard deviation of the accuracies over decoders and resizes",
    source="Xiao et al. 2023, Eq. 12, with n - 1 as in Table 10",
    higher_is_better=False,
    bounds=(0.0, 0.5**0.5),  # two conditions, one always right and one never
    needs=("systematic",),
    least=2,
    scores=correct,
    value=sample_std,
    inflated=True,
)
