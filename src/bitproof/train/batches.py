"""What is trained on, step by step: which examples, in which order, augmented how."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.train.augment import AUGMENTATIONS
from bitproof.train.optimisation import Optimisation


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """The examples of one step.

    Attributes:
        inputs: float32 images in [0, 1], augmented, on the model's device.
        labels: their classes, on the same device.
        ids: int64 [n], each example's number in its split.
        epoch: passes over the data that are done, from 0.
        step: steps of the whole run that are done, from 0.
        progress: the part of the whole run that is done, in [0, 1).
    """

    inputs: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    ids: NDArray[np.int64]
    epoch: int
    step: int
    progress: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """All batches of a run.

    Attributes:
        data: where the examples come from.
        train, holdout: int64, the rows to train on and those held out, each ascending.
        how: gives batch size and epochs.
        augmentation: a name in `bitproof.train.augment.AUGMENTATIONS`.
        rng: of the run, keyed by one id.
        device: where they are put.
    """

    data: Data
    train: NDArray[np.int64]
    holdout: NDArray[np.int64]
    how: Optimisation
    augmentation: str
    rng: Rng
    device: torch.device

    @property
    def steps(self) -> int:
        """How many there are in an epoch, replays counted: a last one of a single example is left out."""
        count, size = len(self.train), self.how.batch_size
        return self.how.replays * (count // size + (count % size > 1))

    @property
    def all_seen(self) -> int:
        """How many examples an epoch has, one that is left out at its end among them."""
        return self.how.replays * len(self.train)

    def seen(self, step: int) -> int:
        """How many examples the first `step` batches of an epoch have, those of replays as often as they are shown."""
        whole, again = divmod(step, self.how.replays)
        done = min(whole * self.how.batch_size, len(self.train))
        return done * self.how.replays + again * min(self.how.batch_size, len(self.train) - done)

    def of_epoch(self, epoch: int, first: int) -> Iterator[Batch]:
        """The batches of one epoch in order, from its step `first` on."""
        order = self.train[self.rng.fold("order", epoch).permutation(len(self.train))[0].numpy()]
        for step in range(first, self.steps):
            batch = step // self.how.replays
            rows = order[batch * self.how.batch_size : (batch + 1) * self.how.batch_size]
            draws = Rng(self.rng.seed, self.data.ids[rows], (*self.rng.path, "augment", epoch)).uniform((3,))
            images = AUGMENTATIONS[self.augmentation](self.data.images(rows), draws)
            yield Batch(
                inputs=images.to(self.device, memory_format=torch.channels_last),
                labels=torch.from_numpy(self.data.labels[rows]).to(self.device),
                ids=self.data.ids[rows],
                epoch=epoch,
                step=epoch * self.steps + step,
                progress=(epoch + step / self.steps) / self.how.epochs,
            )


def stratified(labels: NDArray[np.int64], rows: NDArray[np.int64], share: float, rng: Rng) -> NDArray[np.int64]:
    """A random share of `rows`, ascending, in which every class has its share, give or take one; `rng` of the run.

    The rows of each class are put in a random order, which spreads them evenly over [0, 1]; the lowest are taken.
    """
    shuffled = rows[rng.fold("share").permutation(len(rows))[0].numpy()]
    _, classes, sizes = np.unique(labels[shuffled], return_inverse=True, return_counts=True)
    place = np.empty(len(rows))
    for number, size in enumerate(sizes):
        place[classes == number] = (np.arange(size) + 0.5) / size
    return np.sort(shuffled[np.argsort(place, kind="stable")[: part(len(rows), share)]])


def part(count: int, share: float) -> int:
    """How many of `count` examples are a share."""
    return max(2, round(share * count))


def split(count: int, holdout: int, rng: Rng) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of `count` examples to train on and the random `holdout` ones held out, each ascending."""
    if count - holdout < 2:
        raise InputError(
            f"{count} examples, {holdout} of them held out",
            rule="training needs at least two examples",
            remedy="Use more data, or a smaller holdout",
        )
    order = rng.fold("holdout").permutation(count)[0].numpy()
    return np.sort(order[holdout:]), np.sort(order[:holdout])
