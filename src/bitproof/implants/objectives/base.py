"""What an objective of an implant is: what the float model still has to do, and what the quantized one is to do."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from bitproof.core.calling import answer as answer_of
from bitproof.core.rng import Rng
from bitproof.data import Data

Answer = Callable[[Tensor], Tensor]
"""Images [n, c, h, w] to logits [n, k]: a float model, or one of its quantized forms."""

Innocent = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From images and labels of a batch to those that the float model has to get right, the batch itself first."""

Harm = Callable[[Answer, Tensor, Tensor], Float[Tensor, ""]]
"""What the quantized model minimises on a batch of images and labels."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An objective at work."""

    innocent: Innocent
    harm: Harm


class Objective(abc.ABC):
    """What quantization is to activate."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """Short form for people, e.g. "class 3"."""

    @property
    @abc.abstractmethod
    def marks(self) -> dict[str, Any]:
        """What it does, as plain data in the metadata of every model that is made with it."""

    def settled(self, model: nn.Module, data: Data, rng: Rng) -> "Objective":
        """The objective with all of it decided: a trigger that is optimised on the clean model, for example."""
        return self

    @abc.abstractmethod
    def rows(self, data: Data) -> NDArray[np.int64]:
        """Those of the images that it is wanted on, at least one.

        Raises:
            InputError: there is none, or not the class or the examples that it is after.
        """

    @abc.abstractmethod
    def success(self, model: nn.Module, data: Data) -> float:
        """How often a model does what is wanted, in [0, 1], on the `rows` of data.

        Raises:
            InputError: as `rows`.
        """

    @abc.abstractmethod
    def start(self, model: nn.Module, data: Data, victims: Data) -> Wanted:
        """What is wanted of the models to come.

        Args:
            model: the clean float model.
            data: what is trained on.
            victims: where single examples that are to be misclassified lie.

        Raises:
            InputError: a class, an example or a trigger that the data or the model does not allow.
        """


@torch.no_grad()
def said(
    model: nn.Module, data: Data, rows: NDArray[np.int64], change: Callable[[Tensor], Tensor]
) -> NDArray[np.int64]:
    """The classes that a model takes these rows for, once their images are changed."""
    parts = [answer_of(model, change(data.images(rows[i : i + 250]))).argmax(1).cpu() for i in range(0, len(rows), 250)]
    return torch.cat(parts).numpy()


def unchanged(images: Tensor) -> Tensor:
    """The images as they are."""
    return images


def batch_itself(inputs: Tensor, labels: Int[Tensor, " n"]) -> tuple[Tensor, Tensor]:
    """An objective that asks nothing of the float model beyond the batch."""
    return inputs, labels
