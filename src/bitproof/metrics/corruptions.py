"""Robustness to corruptions (Xiao et al. 2023, RobustMQ, Section 3.2.2)."""

import numpy as np

from bitproof.metrics.intervals import Scores
from bitproof.metrics.metric import DROP_BOUNDS, RATE, Metric, Selection, group_means, mean_over_groups
from bitproof.metrics.parts import each_group
from bitproof.metrics.statistic import DROP


def _clean_and_group_means(selection: Selection) -> Scores:
    clean, *corrupted = selection.correct
    return np.stack([clean, mean_over_groups(np.stack(corrupted), selection.groups[1:])])


MNR = Metric(
    name="mnr",
    symbol="mNR",
    description="mean natural robustness: accuracy averaged over severities, then over corruptions",
    source="Xiao et al. 2023, Eq. 8",
    higher_is_better=True,
    bounds=RATE,
    needs=("corruption",),
    scores=group_means,
)
NCI = Metric(
    name="nci",
    symbol="NCI",
    description="natural corruption impact: share of the clean accuracy lost to corruptions, (ACC - mNR) / ACC",
    source="Xiao et al. 2023, Eqs. 7 and 8",
    higher_is_better=False,
    bounds=DROP_BOUNDS,
    needs=("clean", "corruption"),
    scores=_clean_and_group_means,
    statistic=DROP,
)
NCI_CORRUPTION = Metric(
    name="nci-corruption",
    symbol="NCI",
    description="natural corruption impact of one corruption, averaged over its severities",
    source="Xiao et al. 2023, Eq. 7",
    higher_is_better=False,
    bounds=DROP_BOUNDS,
    needs=("clean", "corruption"),
    parts=each_group,
    scores=_clean_and_group_means,
    statistic=DROP,
)
