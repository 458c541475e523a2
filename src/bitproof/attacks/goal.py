"""What an attack is to reach, example by example: when it is there, and what to raise until then."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bitproof.core import losses
from bitproof.core.calling import Model, check_logits, logits_of
from bitproof.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of logits [n, k] and classes [n]: one number an example, larger the further the model is from the classes."""

QUERY_BATCH = 256
"""Most images a query attack sends at once; bounds its memory whatever the number of queries."""


@runtime_checkable
class Aim(Protocol):
    """What gradient steps need to know of a goal; its methods are those of `Goal`."""

    def __getitem__(self, rows: Tensor | slice | list[int]) -> "Aim": ...

    def answers(self, model: Model, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]: ...

    def reached(self, logits: Float[Tensor, "n k"]) -> Bool[Tensor, " n"]: ...

    def gain(self, logits: Float[Tensor, "n k"], loss: Loss) -> Float[Tensor, " n"]: ...


@dataclass(frozen=True)
class Goal:
    """What each example is to reach.

    Attributes:
        labels: true classes.
        aims: classes to go for; None = any class but the label.
        targeted: whether only its aim breaks an example; otherwise every wrong class does.
    """

    labels: Int[Tensor, " n"]
    aims: Int[Tensor, " n"] | None = None
    targeted: bool = False

    def __getitem__(self, rows: Tensor | slice | list[int]) -> "Goal":
        """The goal of the examples at `rows` (indices or a mask)."""
        return Goal(self.labels[rows], None if self.aims is None else self.aims[rows], self.targeted)

    def repeat(self, count: int) -> "Goal":
        """The goal of `count` images an example, those of one example side by side."""
        aims = None if self.aims is None else self.aims.repeat_interleave(count)
        return Goal(self.labels.repeat_interleave(count), aims, self.targeted)

    def reached(self, logits: Float[Tensor, "n k"]) -> Bool[Tensor, " n"]:
        """Which examples are taken for their aim (targeted), or for any class but their label."""
        prediction = logits.argmax(1)
        return prediction == self.aims if self.targeted else prediction != self.labels

    def gain(self, logits: Float[Tensor, "n k"], loss: Loss = losses.margin) -> Float[Tensor, " n"]:
        """What to maximise. For the margin loss it is positive where the aim, or any wrong class, is reached."""
        return loss(logits, self.labels) if self.aims is None else -loss(logits, self.aims)

    def answers(self, model: Model, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """The model's logits for `images`, finite and with an output for every class to leave or to reach."""
        logits = logits_of(model, images)
        check_logits(logits, images)
        classes = self.labels if self.aims is None else self.aims
        if bool((classes >= logits.shape[1]).any()):
            raise InputError(
                f"a class to {'leave' if self.aims is None else 'reach'} is {int(classes.max())}",
                rule=f"the model has the classes 0 to {logits.shape[1] - 1}",
                remedy="Check labels and targets, or use a model made for this data set",
            )
        return logits

    def gains(self, model: Model, images: Float[Tensor, "n q c h w"]) -> Float[Tensor, "n q"]:
        """The margin of many images an example, asked for without gradients and `QUERY_BATCH` at a time."""
        flat, goal = images.flatten(0, 1), self.repeat(images.shape[1])
        parts = torch.arange(len(flat), device=flat.device).split(QUERY_BATCH)
        with torch.no_grad():
            gains = [(here := goal[rows]).gain(here.answers(model, flat[rows])) for rows in parts]
        return torch.cat(gains).view(images.shape[:2])


def few_at_a_time(examples: int, queries: int) -> list[list[int]]:
    """The rows of a batch in parts that ask about `QUERY_BATCH` queries together, for what is kept per query."""
    size = max(1, QUERY_BATCH // queries)
    return [list(range(start, min(start + size, examples))) for start in range(0, examples, size)]


def input_gradient(
    gain: Float[Tensor, ""], inputs: Float[Tensor, "n ..."], *, keep_graph: bool = False
) -> Float[Tensor, "n ..."]:
    """The gradient of `gain` by `inputs` alone: no weight receives one. `keep_graph` allows another call.

    Raises:
        InputError: the model is not differentiable.
    """
    try:
        (gradient,) = torch.autograd.grad(gain, inputs, retain_graph=keep_graph)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise InputError(
            f"the model gives no gradient by its input ({str(error).splitlines()[0]})",
            rule="this attack follows gradients",
            remedy="Name the parts that have none: BPDA(attack=PGD(), parts=('...',)), or use an attack that only asks"
            " (noise, square, spsa, zoo, hopskipjump)",
        ) from error
    return gradient
