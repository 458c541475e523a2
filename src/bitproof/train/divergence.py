"""Training that leads nowhere: a loss that is no number, or accuracy at chance; "NC" in the papers' tables."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from bitproof.errors import InputError

PATIENCE = 5
"""Whole epochs at chance, one after the other, after which a run is given up."""


class Diverged(InputError):
    """A run did not converge.

    Attributes:
        epoch: in which that was seen, from 1.
        model: the last one that was sound, in eval mode: as of the end of an epoch, or the start.
    """

    def __init__(self, what: str, *, epoch: int, model: nn.Module, rule: str, remedy: str) -> None:
        super().__init__(what, rule=rule, remedy=remedy)
        self.epoch = epoch
        self.model = model


def is_finite(model: nn.Module, before: Mapping[str, Tensor]) -> bool:
    """Whether weights and statistics are, but for what was infinite `before`, as the buffer of a mask is.

    Statistics may be infinite before the loss of a batch is.
    """
    return all(
        bool((value.isfinite() | (value == before[name])).all())
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    )


def not_finite(what: str, epoch: int, model: nn.Module) -> Diverged:
    """Of a run in whose epoch `epoch` something, such as "loss is nan", is no number."""
    return Diverged(
        f"the {what} in epoch {epoch}",
        epoch=epoch,
        model=model,
        rule="training goes on while loss and weights are finite",
        remedy="Use a smaller learning_rate",
    )


def at_chance(accuracies: list[float], epoch: int, model: nn.Module) -> Diverged:
    """Of a run that has learned nothing for `PATIENCE` epochs."""
    return Diverged(
        f"the mean accuracy of the classes is {accuracies[-1]:.1%} in epoch {epoch}, and was no better in the "
        f"{PATIENCE - 1} before",
        epoch=epoch,
        model=model,
        rule=f"training goes on unless it stays at chance for {PATIENCE} epochs",
        remedy="Use a smaller learning_rate, or more bits",
    )


def chance(labels: NDArray[np.int64]) -> float:
    """What the mean of the classes' accuracies does not exceed by chance on so many examples, by three standard
    deviations; 0 where they are too few to tell chance from learning.

    It is 1 / k for all guesses of k classes: one that always answers the most frequent class is right on all of that
    and on none of the others. So a model that answers rare classes at the cost of frequent ones is no guess.

    Example:
        >>> round(chance(np.arange(1000) % 10), 3)
        0.128
    """
    sizes = np.bincount(labels)
    sizes = sizes[sizes > 0]
    share = 1 / len(sizes)
    most = share + 3 * share * np.sqrt((share * (1 - share) / sizes).sum())
    return float(most) if most < (1 + share) / 2 else 0.0
