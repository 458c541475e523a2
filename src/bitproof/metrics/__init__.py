"""Every metric as a pure function of stored cells, with an interval; every comparison of models paired.

A cell says which examples a model got right under one condition. `compare` puts models side by side under each
condition, `summary` computes every metric of `METRICS` that the cells allow, `verdicts` says which differences are
tested together, and what the tests say. All rates are fractions in [0, 1], all intervals are two-sided. The result
depends on the examples, never on their order.
"""

from bitproof.metrics.accuracy import ACCURACY
from bitproof.metrics.attacks import AAI, AR, ASR, EVADED, WCAR, WCAR_BUDGET
from bitproof.metrics.calibration import ECE
from bitproof.metrics.classes import WORST_CLASS
from bitproof.metrics.comparisons import compare
from bitproof.metrics.corruptions import MNR, NCI, NCI_CORRUPTION
from bitproof.metrics.defended import (
    ACR,
    ANSWERED,
    ANSWERED_ATTACKED,
    BREACHES,
    DEFENCE_ACCURACY,
    EXPECTED,
    WORST_DRAW,
    certified,
    certified_accuracy,
    defences,
)
from bitproof.metrics.disparity import Disparity, class_accuracy, disparity
from bitproof.metrics.family import Verdict, family, tested_lines, verdicts
from bitproof.metrics.groups import Group, group_conditions
from bitproof.metrics.intervals import mean_difference_interval, mean_interval, paired_interval, wilson
from bitproof.metrics.metric import Metric, Selection, difference, estimate, mean_over_groups
from bitproof.metrics.minimum_norm import distances, minimised_norm, needed_distances, robust_accuracy_curve
from bitproof.metrics.moves import mean_moves
from bitproof.metrics.paired import difference_above, flipped, holm, max_t, mcnemar, paired_difference, rate_above
from bitproof.metrics.pixels import same_pixels
from bitproof.metrics.pooled import pooled
from bitproof.metrics.reference import AGREEMENT, NFR
from bitproof.metrics.scoring import BRIER, LOG_LOSS, TOP5
from bitproof.metrics.sequences import FP, MFP, flips
from bitproof.metrics.spreads import sample_std
from bitproof.metrics.statistic import (
    CHANGE,
    DEBIASED_SPREAD,
    DROP,
    LOSS,
    MEAN,
    SHARE,
    SPREAD,
    Statistic,
    relative_drop,
)
from bitproof.metrics.systematic import ACC_S, SNI, SNI_NOISE, SR, SR_DEBIASED
from bitproof.metrics.table import METRICS, add_metric, summary
from bitproof.metrics.targeted import TSR
from bitproof.metrics.transfers import transfer
from bitproof.metrics.triggered import COLLATERAL, LIFT, TRIGGERED, TRIGGERED_ALL

__all__ = [
    "AAI",
    "ACCURACY",
    "ACC_S",
    "ACR",
    "AGREEMENT",
    "ANSWERED",
    "ANSWERED_ATTACKED",
    "AR",
    "ASR",
    "BREACHES",
    "BRIER",
    "CHANGE",
    "COLLATERAL",
    "DEBIASED_SPREAD",
    "DEFENCE_ACCURACY",
    "DROP",
    "ECE",
    "EVADED",
    "EXPECTED",
    "FP",
    "LIFT",
    "LOG_LOSS",
    "LOSS",
    "MEAN",
    "METRICS",
    "MFP",
    "MNR",
    "NCI",
    "NCI_CORRUPTION",
    "NFR",
    "SHARE",
    "SNI",
    "SNI_NOISE",
    "SPREAD",
    "SR",
    "SR_DEBIASED",
    "TOP5",
    "TRIGGERED",
    "TRIGGERED_ALL",
    "TSR",
    "WCAR",
    "WCAR_BUDGET",
    "WORST_CLASS",
    "WORST_DRAW",
    "Disparity",
    "Group",
    "Metric",
    "Selection",
    "Statistic",
    "Verdict",
    "add_metric",
    "certified",
    "certified_accuracy",
    "class_accuracy",
    "compare",
    "defences",
    "difference",
    "difference_above",
    "disparity",
    "distances",
    "estimate",
    "family",
    "flipped",
    "flips",
    "group_conditions",
    "holm",
    "max_t",
    "mcnemar",
    "mean_difference_interval",
    "mean_interval",
    "mean_moves",
    "mean_over_groups",
    "minimised_norm",
    "needed_distances",
    "paired_difference",
    "paired_interval",
    "pooled",
    "rate_above",
    "relative_drop",
    "robust_accuracy_curve",
    "same_pixels",
    "sample_std",
    "summary",
    "tested_lines",
    "transfer",
    "verdicts",
    "wilson",
]
