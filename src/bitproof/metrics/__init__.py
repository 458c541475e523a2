"""Every metric as a pure function of stored cells, with an interval; every comparison of models paired.

A cell says which examples a model got right under one condition. `compare` puts models side by side under each
condition, `summary` computes every metric of `METRICS` that the cells allow. All rates are fractions in [0, 1], all
intervals are two-sided. The result depends on the examples, never on their order.
"""

from bitproof.metrics.accuracy import ACCURACY
from bitproof.metrics.attacks import AAI, AR, ASR, WCAR, WCAR_BUDGET
from bitproof.metrics.calibration import ECE
from bitproof.metrics.comparisons import compare, holm, mcnemar, paired_difference, rate_above
from bitproof.metrics.corruptions import MNR, NCI, NCI_CORRUPTION
from bitproof.metrics.intervals import estimate_scores, resample, wilson
from bitproof.metrics.metric import Metric, Selection, estimate, mean_over_groups, relative_drop
from bitproof.metrics.minimum_norm import distances, minimised_norm, needed_distances, robust_accuracy_curve
from bitproof.metrics.moves import mean_moves
from bitproof.metrics.pixels import same_pixels
from bitproof.metrics.reference import AGREEMENT, NFR
from bitproof.metrics.sequences import FP, MFP, flips
from bitproof.metrics.systematic import ACC_S, SNI, SNI_NOISE, SR, sample_std
from bitproof.metrics.table import METRICS, summary
from bitproof.metrics.targeted import TSR
from bitproof.metrics.transfers import transfer

__all__ = [
    "AAI",
    "ACCURACY",
    "ACC_S",
    "AGREEMENT",
    "AR",
    "ASR",
    "ECE",
    "FP",
    "METRICS",
    "MFP",
    "MNR",
    "NCI",
    "NCI_CORRUPTION",
    "NFR",
    "SNI",
    "SNI_NOISE",
    "SR",
    "TSR",
    "WCAR",
    "WCAR_BUDGET",
    "Metric",
    "Selection",
    "compare",
    "distances",
    "estimate",
    "estimate_scores",
    "flips",
    "holm",
    "mcnemar",
    "mean_moves",
    "mean_over_groups",
    "minimised_norm",
    "needed_distances",
    "paired_difference",
    "rate_above",
    "relative_drop",
    "resample",
    "robust_accuracy_curve",
    "same_pixels",
    "sample_std",
    "summary",
    "transfer",
    "wilson",
]
