"""Robustness to attacks (Xiao et al. 2023, RobustMQ, Visual Intelligence 1:30, Section 3.2.1)."""

import numpy as np

from bitproof.metrics.intervals import Scores
from bitproof.metrics.metric import DROP, RATE, Metric, Selection, correct, impact
from bitproof.metrics.parts import each_budget


def _always_correct(selection: Selection) -> Scores:
    return np.atleast_2d(selection.correct.all(axis=0))


def _broken(selection: Selection) -> Scores:
    clean, *attacked = selection.correct
    return ~np.stack(attacked)[:, clean]


def _broken_or_both(selection: Selection) -> Scores:
    # If no example is right under attack only, AAI is the rate of broken ones. Wilson then serves the commonest
    # result of all, AR = 0, for which every bootstrap draw is 1 and the interval would claim certainty.
    clean, attacked = selection.correct
    return selection.correct if (attacked & ~clean).any() else _broken(selection)


AR = Metric(
    name="ar",
    symbol="AR",
    description="adversarial robustness: accuracy under one attack",
    source="Xiao et al. 2023, Eq. 3",
    higher_is_better=True,
    bounds=RATE,
    needs=("attack",),
    each=True,
    scores=correct,
)
AAI = Metric(
    name="aai",
    symbol="AAI",
    description="adversarial attack impact: share of the clean accuracy lost to one attack, (ACC - AR) / ACC",
    source="Xiao et al. 2023, Eq. 4",
    higher_is_better=False,
    bounds=DROP,
    needs=("clean", "attack"),
    each=True,
    scores=_broken_or_both,
    value=impact,
)
ASR = Metric(
    name="asr",
    symbol="ASR",
    description="attack success rate: of the examples right when clean, the share wrong under one attack",
    source="Xiao et al. 2023, Section 3.2.1, which divides by all examples, so that ASR = 1 - AR",
    higher_is_better=False,
    bounds=RATE,
    needs=("clean", "attack"),
    each=True,
    scores=_broken,
)
WCAR = Metric(
    name="wcar",
    symbol="WCAR",
    description="worst-case adversarial robustness: share of examples right under every attack",
    source="Xiao et al. 2023, Eq. 5",
    higher_is_better=True,
    bounds=RATE,
    needs=("attack",),
    scores=_always_correct,
    counted="attack",
)
WCAR_BUDGET = Metric(
    name="wcar-budget",
    symbol="WCAR",
    description="worst-case adversarial robustness at one budget: share of examples right under every attack at it",
    source="Xiao et al. 2023, Eq. 5, which has a small, a middle and a large one",
    higher_is_better=True,
    bounds=RATE,
    needs=("attack",),
    parts=each_budget,
    scores=_always_correct,
)
