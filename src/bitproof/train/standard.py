"""Plain supervised training: cross-entropy, Adam, one-cycle learning rate."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.train.loop import fit, steps_per_epoch


def _ignore(_: int) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Standard:
    """Trains a copy of a model with Adam under a one-cycle schedule (Smith & Topin 2017).

    Attributes:
        epochs: passes over the data.
        batch_size: examples a step.
        learning_rate: peak of the cycle.
        weight_decay: decoupled, as in AdamW.

    Example:
        >>> import numpy as np, bitproof as bp
        >>> data = bp.load_data("digits", split="train", limit=64)
        >>> trained = Standard(epochs=1)(bp.load_model("digits_cnn"), data, rng=bp.Rng(0, np.array([0])))
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-2
    weight_decay: float = 1e-4

    def __call__(
        self, model: nn.Module, data: Data, *, rng: Rng, advance: Callable[[int], None] = _ignore
    ) -> nn.Module:
        """A trained copy of `model` in eval mode; `advance` is told how many examples are done."""
        trained = copy.deepcopy(model).train()
        optimizer = torch.optim.AdamW(trained.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        steps = self.epochs * steps_per_epoch(len(data), self.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=steps + 1)
        fit(
            trained,
            data,
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=optimizer,
            schedule=schedule,
            loss=lambda m, inputs, labels: F.cross_entropy(m(inputs), labels),
            rng=rng,
            advance=advance,
        )
        return trained.eval()
