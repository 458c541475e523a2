"""A phase of making an implant: so many steps of Adam on one loss, by the loop that trains everything else.

BatchNorm stays as it is throughout: float and quantized models share its statistics, so that what moves them for one
moves them for both.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bitproof.core.calling import device_of
from bitproof.core.rng import Rng
from bitproof.data import Data, select
from bitproof.errors import InputError, lookup
from bitproof.settings import describe, digest
from bitproof.subjects.fingerprint import fingerprint
from bitproof.train import Optimisation
from bitproof.train.batches import Batches
from bitproof.train.loop import Advance, Minimised, fit
from bitproof.train.schedules import SCHEDULES
from bitproof.train.state import Position, Run, StateFile


@dataclass(frozen=True, kw_only=True)
class Phase:
    """How long a loss is minimised, and how fast.

    Attributes:
        steps: of Adam.
        learning_rate: the schedule's peak.
        batch_size: examples a step.
        schedule: a name in `bitproof.train.schedules.SCHEDULES`.
    """

    steps: int = 200
    learning_rate: float = 1e-3
    batch_size: int = 64
    schedule: str = "cosine"

    def __post_init__(self) -> None:
        lookup(SCHEDULES, self.schedule, "schedule")
        if self.steps < 0 or self.batch_size < 2:
            raise InputError(
                f"{self.steps} steps of {self.batch_size} examples",
                rule="a phase has no fewer than 0 steps, of 2 examples at least",
                remedy="Use steps=200, batch_size=64",
            )
        self.optimisation(1)  # which checks the rate

    @property
    def work(self) -> int:
        """How many examples pass through, for progress bars."""
        return self.steps * self.batch_size

    def optimisation(self, epochs: int) -> Optimisation:
        """The same for the loop that trains."""
        return Optimisation(
            epochs=epochs,
            batch_size=self.batch_size,
            optimizer="adam",
            learning_rate=self.learning_rate,
            weight_decay=0.0,
            schedule=self.schedule,
        )


@dataclass(frozen=True, kw_only=True)
class Making:
    """What the phases of one implant share.

    Attributes:
        data: the training examples.
        rng: of the whole, keyed by one id.
        identity: hash of what the implant follows from beside model, phase and step.
        folder: where each phase keeps its state, so that a stopped one goes on; None keeps nothing.
        advance: told of the examples done.
    """

    data: Data
    rng: Rng
    identity: str
    folder: Path | None
    advance: Advance

    def run(self, name: str, phase: Phase, model: nn.Module, loss: Minimised) -> nn.Module:
        """The model itself, in eval mode, after the steps of a phase; parameters without gradient stay as they are."""
        if not phase.steps:
            return model.eval()
        self.advance(0, name)
        rng = self.rng.fold(name)
        epochs = -(-phase.work // len(self.data))
        count = min(len(self.data), -(-phase.work // epochs))
        rows = np.sort(rng.fold("rows").permutation(len(self.data))[0].numpy()[:count])
        batches = Batches(
            data=select(self.data, rows),
            train=np.arange(count),
            holdout=np.zeros(0, np.int64),
            how=phase.optimisation(epochs),
            augmentation="none",
            rng=rng,
            device=device_of(model),
        )
        identity = digest(self.identity, name, describe(phase), self.data.fingerprint, fingerprint(model))
        state = None if self.folder is None else self.folder / f"{name}.pt"
        run = Run(
            model=model.to(memory_format=torch.channels_last),  # pyright: ignore - a tenth faster on a CPU
            objective=nn.Module(),
            optimizer=batches.how.start(model),
            now=Position.first(len(self.data.classes), device_of(model)),
        )
        return fit(
            run,
            batches,
            loss,
            average=0.0,
            guard=None,
            stuck=None,
            file=StateFile(state, identity),
            advance=lambda done, _: self.advance(done, name),
            on_epoch=lambda *_: None,
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, BatchNorm and dropout with it, and in train mode again after it."""
    model.eval()
    try:
        yield
    finally:
        model.train()


def train_only(model: nn.Module, names: Any) -> None:
    """Let only the parameters of these names be trained."""
    wanted = set(names)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in wanted)
