"""Whether the model that an objective learns from has learned anything itself."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bitproof.core.calling import answer
from bitproof.data import Data
from bitproof.data.base import spread
from bitproof.errors import InputError
from bitproof.train.objectives import Objective

LOOKED_AT = 256
"""Training images that it is asked about."""

FEWEST = 20
"""Images that are too few to tell a guess from knowledge."""


def learns_from_model(objective: Objective) -> bool:
    """Whether an objective, or one inside it, learns from a model."""
    inside = (part for part in vars(objective).values() if isinstance(part, Objective))
    return objective.taught or any(map(learns_from_model, inside))


def has_random_weights(model: nn.Module) -> bool:
    """Whether it is known of a model that nothing has trained it; models of unknown origin are not known to be so."""
    return (getattr(model, "origin", None) or {}).get("weights") == "random"


def check_start(model: nn.Module, data: Data, rows: NDArray[np.int64], learner: str) -> None:
    """Refuse a start that guesses, where something learns from it unless another teacher is given.

    A model of random weights may be right somewhat more often than a guess: what counts as knowledge is twice the
    share of the most frequent class, or half of the way from there to all, whichever is less.

    Args:
        model: what is learned from, in eval mode.
        data: the training examples.
        rows: those that are trained on; up to `LOOKED_AT` of them are looked at.
        learner: what learns, for people.

    Raises:
        InputError: it is known to have random weights, or is right no more often than these may be.
    """
    what = None
    if has_random_weights(model):
        what = "random weights"
    elif len(rows) >= FEWEST:
        looked = rows[spread(len(rows), LOOKED_AT)]
        right, labels = _right(model, data, looked), data.labels[looked]
        share = np.bincount(labels).max() / len(labels)
        if right.mean() <= min(2 * share, (1 + share) / 2):
            what = f"a model that guesses (right on {right.sum()} of {len(looked)} training images)"
    if what is not None:
        raise InputError(
            f"{learner} without a teacher, from {what}",
            rule="it then learns from the model that training starts from, which has to be trained",
            remedy="Give a trained teacher (teacher=, --teacher FILE), or start from trained weights (--weights FILE); "
            "where it is meant, pass the start itself as the teacher",
        )


@torch.no_grad()
def _right(model: nn.Module, data: Data, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    said = [
        answer(model, data.images(part)).argmax(1).cpu().numpy() for part in np.array_split(rows, -(-len(rows) // 64))
    ]
    return np.concatenate(said) == data.labels[rows]
