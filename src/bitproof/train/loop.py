"""The training loop every recipe shares."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from bitproof.core.calling import device_of
from bitproof.core.rng import Rng
from bitproof.data import Data


def fit(
    model: nn.Module,
    data: Data,
    *,
    epochs: int,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor],
    rng: Rng,
    advance: Callable[[int], None],
) -> None:
    """Train `model` in place.

    Args:
        model: in the mode it is to be trained in.
        data: the training examples; every epoch sees each once, in an order drawn from `rng`.
        epochs: passes over the data.
        batch_size: examples a step; a last batch of one example, which BatchNorm cannot use, is left out.
        optimizer: already holds the model's parameters.
        schedule: stepped after every batch.
        loss: `(model, inputs, labels) -> scalar`.
        rng: keyed by one id, the run.
        advance: called with the number of examples done.
    """
    device = device_of(model)
    for epoch in range(epochs):
        order = rng.fold("order", epoch).permutation(len(data))[0].numpy()
        for rows in np.array_split(order, range(batch_size, len(order), batch_size)):
            if len(rows) > 1:
                value = loss(model, data.images(rows).to(device), torch.from_numpy(data.labels[rows]).to(device))
                optimizer.zero_grad(set_to_none=True)
                value.backward()
                optimizer.step()
                schedule.step()
            advance(len(rows))


def steps_per_epoch(count: int, batch_size: int) -> int:
    """How many optimiser steps `fit` makes an epoch."""
    return count // batch_size + (count % batch_size > 1)
