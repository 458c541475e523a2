"""Scores of all that a model says of an image: of the label's probability and rank, not of the prediction alone."""

import numpy as np

from bitproof.metrics.intervals import Scores
from bitproof.metrics.metric import RATE, Metric, Selection
from bitproof.metrics.statistic import MEAN, UNBOUNDED, within
from bitproof.records import Cell

FEWEST = 6
"""Classes from which a label can be outside the first five."""


def _brier(selection: Selection) -> Scores:
    """Sum over the classes of (probability - 1 for the label, else 0) squared."""
    (clean,) = selection.cells
    assert clean.squares is not None
    return (1 - 2 * clean.label_probabilities + clean.squares.astype(np.float64)).clip(0, 2)[None]


def _losses(selection: Selection) -> Scores:
    (clean,) = selection.cells
    assert clean.losses is not None
    return clean.losses.astype(np.float64)[None]


def _first_five(selection: Selection) -> Scores:
    (clean,) = selection.cells
    assert clean.ranks is not None
    return (clean.ranks < 5)[None]


def _has_scores(cell: Cell) -> bool:
    return cell.losses is not None and cell.squares is not None


def _has_ranks(cell: Cell) -> bool:
    return cell.ranks is not None and len(cell.data.classes) >= FEWEST


BRIER = Metric(
    name="brier",
    symbol="BS",
    description="Brier score: squared distance of the probabilities from 1 for the label and 0 for all others",
    source="Brier 1950, Eq. 2",
    higher_is_better=False,
    bounds=(0.0, 2.0),
    needs=("clean",),
    suits=_has_scores,
    scores=_brier,
    statistic=within(2.0),
)

LOG_LOSS = Metric(
    name="log-loss",
    symbol="NLL",
    description="mean of -log of the label's probability, in nats",
    source="Good 1952, Section 8",
    higher_is_better=False,
    bounds=(0.0, np.inf),
    needs=("clean",),
    suits=_has_scores,
    scores=_losses,
    statistic=UNBOUNDED,
)

TOP5 = Metric(
    name="top-5",
    symbol="TOP5",
    description="share of clean examples whose label is among the five most probable classes",
    source="Russakovsky et al. 2015, Section 4.1",
    higher_is_better=True,
    bounds=RATE,
    needs=("clean",),
    suits=_has_ranks,
    scores=_first_five,
    statistic=MEAN,
)
