"""The settings that every way to train shares: the optimiser, its schedule, and how long it runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from bitproof.errors import InputError, lookup
from bitproof.train.augment import AUGMENTATIONS
from bitproof.train.schedules import SCHEDULES


def squared_hinge(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """The mean of max(0, 1 - t z)^2 over examples and classes, t = +1 at the label, else -1 (an L2-SVM's loss)."""
    sign = 2 * F.one_hot(labels, logits.shape[1]).to(logits) - 1
    return (1 - sign * logits).clamp(min=0).square().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": F.cross_entropy,
    "squared-hinge": squared_hinge,
}
OPTIMIZERS: dict[str, Callable[["Hyperparameters", list[dict[str, Any]]], torch.optim.Optimizer]] = {
    "sgd": lambda r, groups: torch.optim.SGD(groups, r.learning_rate, momentum=r.momentum),
    "adam": lambda r, groups: torch.optim.Adam(groups, r.learning_rate),
    "adamw": lambda r, groups: torch.optim.AdamW(groups, r.learning_rate),
}


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """How to minimise a loss.

    Attributes:
        epochs: passes over the data.
        batch_size: examples a step; a last batch of one, which BatchNorm cannot use, is left out.
        optimizer: "sgd", "adam" (both with an l2 penalty as weight decay) or "adamw" (decoupled).
        learning_rate: the schedule's peak.
        momentum: of SGD.
        weight_decay: of everything but the parameters of quantizers.
        schedule: a name in `bitproof.train.schedules.SCHEDULES`, followed step by step.
        milestones: where "steps" multiplies the rate by `decay`, as parts of the whole run, ascending in (0, 1).
        decay: factor of "steps" at each milestone; of "exponential" over the whole run.
        loss: "cross-entropy" or "squared-hinge".
        augmentation: "none", or "crop-flip" for shifts of 4 pixels and mirroring.
        holdout: so many random examples are kept out of training; the result is the epoch that does best on
            them. 0 = the result is the last epoch.
        precision: "float32", or "bfloat16" for mixed precision where the hardware is faster at it.
        compiled: run the model through `torch.compile`.
    """

    epochs: int = 20
    batch_size: int = 64
    optimizer: str = "adamw"
    learning_rate: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "one-cycle"
    milestones: tuple[float, ...] = ()
    decay: float = 0.1
    loss: str = "cross-entropy"
    augmentation: str = "none"
    holdout: int = 0
    precision: str = "float32"
    compiled: bool = False

    def __post_init__(self) -> None:
        for value, choices, name in (
            (self.optimizer, OPTIMIZERS, "optimizer"),
            (self.schedule, SCHEDULES, "schedule"),
            (self.loss, LOSSES, "loss"),
            (self.augmentation, AUGMENTATIONS, "augmentation"),
            (self.precision, {"float32": None, "bfloat16": None}, "precision"),
        ):
            lookup(choices, value, name)
        for name, least in (("epochs", 1), ("batch_size", 2), ("holdout", 0)):
            if getattr(self, name) < least:
                raise InputError(
                    f"{name} is {getattr(self, name)}", rule=f"it is {least} at least", remedy="Use a larger number"
                )
        for name in ("learning_rate", "decay"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(
                    f"{name} is {getattr(self, name)}", rule="it is positive and finite", remedy="Try 0.1 or 0.01"
                )
        if list(self.milestones) != sorted(self.milestones) or not all(0 < m < 1 for m in self.milestones):
            raise InputError(
                f"milestones are {self.milestones}",
                rule="they are parts of the whole run, ascending between 0 and 1",
                remedy="For epochs 60 and 120 of 200, write (0.3, 0.6)",
            )
