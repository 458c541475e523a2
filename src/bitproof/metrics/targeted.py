"""Targeted attacks: how often the model says what the attacker wants, not just something wrong.

Hong et al. 2021 (arXiv 2111.04625) report the same share of images with a backdoor's trigger as "attack success rate",
those of the target's own class among them; here these do not count, as nothing has to be done to them.
"""

import numpy as np

from bitproof.metrics.intervals import Scores
from bitproof.metrics.metric import RATE, Metric, Selection
from bitproof.metrics.statistic import SHARE
from bitproof.records import Cell


def _has_targets(cell: Cell) -> bool:
    return cell.targets is not None


def _taken_for_target(selection: Selection) -> Scores:
    clean, attacked = selection.cells
    assert attacked.targets is not None
    tried = clean.correct & (attacked.targets >= 0) & (attacked.targets != attacked.labels)
    return np.stack([tried, tried & (attacked.predictions == attacked.targets)])


TSR = Metric(
    name="tsr",
    symbol="TSR",
    description="targeted success rate: of the examples right when clean that were to become another class, the share "
    "classified as that class under one attack",
    source="Carlini & Wagner 2017, arXiv 1608.04644, Table IV (prob)",
    higher_is_better=False,
    bounds=RATE,
    needs=("clean", "attack"),
    suits=_has_targets,
    each=True,
    scores=_taken_for_target,
    statistic=SHARE,
)
