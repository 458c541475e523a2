"""Accuracy on clean images."""

from bitproof.metrics.metric import RATE, Metric, correct

ACCURACY = Metric(
    name="accuracy",
    symbol="ACC",
    description="share of clean examples classified right",
    source="Xiao et al. 2023, Section 3.2.1",
    higher_is_better=True,
    bounds=RATE,
    needs=("clean",),
    scores=correct,
)
