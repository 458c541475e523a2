"""A model against its reference, example by example: what accuracies do not show."""

from bitproof.metrics.intervals import Scores
from bitproof.metrics.metric import RATE, Metric, Selection


def _lost(selection: Selection) -> Scores:
    (model,), (reference,) = selection.cells, selection.reference
    return (reference.correct & ~model.correct)[None]


def _agrees(selection: Selection) -> Scores:
    (model,), (reference,) = selection.cells, selection.reference
    return (model.predictions == reference.predictions)[None]


NFR = Metric(
    name="nfr",
    symbol="NFR",
    description="negative flip rate: share of clean examples that the reference gets right and the model gets wrong",
    source="Yan et al. 2021, Positive-Congruent Training, arXiv 2011.09161",
    higher_is_better=False,
    bounds=RATE,
    needs=("clean",),
    compares=True,
    scores=_lost,
)
AGREEMENT = Metric(
    name="agreement",
    symbol="AGR",
    description="agreement: share of clean examples that model and reference put into one class, right or wrong",
    source="Stanton et al. 2021, arXiv 2106.05945, top-1 agreement",
    higher_is_better=True,
    bounds=RATE,
    needs=("clean",),
    compares=True,
    scores=_agrees,
)
