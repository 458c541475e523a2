"""What an objective is: a setting that, once training starts, gives each step its loss."""

import abc
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from bitproof.core.calling import logits_of
from bitproof.core.rng import Rng
from bitproof.errors import InputError, kind_of
from bitproof.train.batches import Batch

Loss = Callable[[nn.Module, Batch, Rng], tuple[Tensor, Tensor]]
"""`(model, batch, rng) -> (loss, logits)` of one step.

The model is in train mode and is left in it. The loss is a mean over the batch; the logits [n, k], in the order of the
batch, are what the epoch's accuracy is counted from. `rng` is keyed by example and epoch.

A loss that has a state of its own is an `nn.Module`: its parameters are learned with the model's, and its state dict is
part of what a stopped run goes on from.
"""


@dataclass(frozen=True, kw_only=True)
class OneStep:
    """A single linf step of length about `eps`, along a gradient (`bitproof.train.crafting`), to images on which an
    objective is minimised."""

    eps: float
    gradient: str
    objective: "Objective"


class Objective(abc.ABC):
    """What training minimises.

    Attributes:
        taught: whether it learns from a model: without a teacher from the start, which then has to be trained.
    """

    taught: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """Short form for people, e.g. "cross-entropy"."""

    @property
    def one_step(self) -> "OneStep | None":
        """What it is where it trains against a single step, which the alarm watches; None for all others."""
        return None

    @abc.abstractmethod
    def start(self, teacher: nn.Module) -> Loss:
        """The loss of the steps to come.

        Args:
            teacher: the model to learn from, where the objective learns from one: by default the one that
                training starts from, before it is quantized. What is kept of it must be a copy.
        """


def of_logits(criterion: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """The loss that compares the batch's logits and labels by `criterion`.

    Raises:
        InputError: it does not take two arguments, or (once it is used) does not give one number.
    """
    rule = "a loss of your own takes logits and labels, and gives one number, a mean over the batch"
    try:
        inspect.signature(criterion).bind(None, None)
    except TypeError as error:
        raise InputError(f"a loss that cannot be called ({error})", rule=rule, remedy="Give it both") from error
    except ValueError:  # builtins may have no signature
        pass

    def loss(model: nn.Module, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        logits = logits_of(model, batch.inputs)
        value = criterion(logits, batch.labels)
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else kind_of(value)
            raise InputError(
                f"the loss gave {shape} for {len(logits)} images",
                rule=rule,
                remedy="Return its mean()",
            )
        return value, logits

    return loss
