"""Robustness to attacks (Xiao et al. 2023, RobustMQ, Visual Intelligence 1:30, Section 3.2.1)."""

import numpy as np

from bitproof.metrics.intervals import Scores
from bitproof.metrics.metric import DROP_BOUNDS, RATE, Metric, Selection, correct
from bitproof.metrics.parts import each_budget
from bitproof.metrics.statistic import LOSS, SHARE
from bitproof.records import KEPT, Cell


def _untargeted(cell: Cell) -> bool:
    """Whether any wrong class counted; an attack on a class of its own says little about the others."""
    return cell.targets is None


def _always_correct(selection: Selection) -> Scores:
    return np.atleast_2d(selection.correct.all(axis=0))


def _right_and_broken(selection: Selection) -> Scores:
    clean, attacked = selection.correct
    return np.stack([clean, clean & ~attacked])


def _kept(cell: Cell) -> bool:
    return KEPT in cell.values


def _right_and_broken_alone(selection: Selection) -> Scores:
    clean, attacked = selection.cells
    alone = ~attacked.correct & (attacked.values[KEPT] == attacked.labels)
    return np.stack([clean.correct, clean.correct & alone])


AR = Metric(
    name="ar",
    symbol="AR",
    description="adversarial robustness: accuracy under one untargeted attack",
    source="Xiao et al. 2023, Eq. 3",
    higher_is_better=True,
    bounds=RATE,
    needs=("attack",),
    suits=_untargeted,
    each=True,
    scores=correct,
)
AAI = Metric(
    name="aai",
    symbol="AAI",
    description="adversarial attack impact: share of the clean accuracy lost to one untargeted attack, "
    "(ACC - AR) / ACC",
    source="Xiao et al. 2023, Eq. 4",
    higher_is_better=False,
    bounds=DROP_BOUNDS,
    needs=("clean", "attack"),
    suits=_untargeted,
    each=True,
    scores=correct,
    statistic=LOSS,
)
ASR = Metric(
    name="asr",
    symbol="ASR",
    description="attack success rate: of the examples right when clean, the share wrong under one untargeted attack",
    source="Xiao et al. 2023, Section 3.2.1, which divides by all examples, so that ASR = 1 - AR",
    higher_is_better=False,
    bounds=RATE,
    needs=("clean", "attack"),
    suits=_untargeted,
    each=True,
    scores=_right_and_broken,
    statistic=SHARE,
)
EVADED = Metric(
    name="evaded",
    symbol="ASR(alone)",
    description="evasion rate: of the examples right when clean, the share that an attack makes the model get wrong "
    "while the one beside it is right",
    source="Hao et al. 2022, arXiv 2204.10933, Section 5.1, of examples that both models get right",
    higher_is_better=False,
    bounds=RATE,
    needs=("clean", "differential"),
    suits=_kept,
    each=True,
    scores=_right_and_broken_alone,
    statistic=SHARE,
)
WCAR = Metric(
    name="wcar",
    symbol="WCAR",
    description="worst-case adversarial robustness: share of examples right under every untargeted attack",
    source="Xiao et al. 2023, Eq. 5",
    higher_is_better=True,
    bounds=RATE,
    needs=("attack",),
    suits=_untargeted,
    scores=_always_correct,
    counted="attack",
)
WCAR_BUDGET = Metric(
    name="wcar-budget",
    symbol="WCAR",
    description="worst-case adversarial robustness at one budget: share of examples right under every untargeted "
    "attack at it",
    source="Xiao et al. 2023, Eq. 5, which has a small, a middle and a large one",
    higher_is_better=True,
    bounds=RATE,
    needs=("attack",),
    suits=_untargeted,
    parts=each_budget,
    scores=_always_correct,
)
