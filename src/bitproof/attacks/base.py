"""What every attack is: a frozen setting that can be called; and what attacks share."""

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bitproof.attacks.checks import check_task
from bitproof.core import losses
from bitproof.core.calling import Model, check_logits
from bitproof.core.rng import Rng
from bitproof.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]

QUERY_BATCH = 256
"""Most images a query attack sends at once; bounds its memory whatever the number of queries."""


class Attack(abc.ABC):
    """Looks for images near the given ones that the model gets wrong (or takes for the targets).

    Attributes:
        norm, eps: the budget, in [0, 1] pixel units. The evaluator checks it; the attack is not believed.
            An infinite eps means that the attack looks for the nearest image: its distances answer
            every budget at once (`bitproof.metrics.robust_accuracy_curve`).
        asks_only: whether answers are enough; the others follow gradients.
        averaged: answers of the model that are averaged at every point; with one, a model that answers at random is
            refused.
    """

    norm: str
    eps: float
    asks_only: ClassVar[bool] = False
    averaged: int = 1

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """Short form for people, e.g. "pgd-20 linf 8/255"."""

    @property
    @abc.abstractmethod
    def passes(self) -> int:
        """Most forward and backward passes an example can cost, for progress bars."""

    @abc.abstractmethod
    def __call__(
        self,
        model: Model,
        inputs: Float[Tensor, "n c h w"],
        labels: Int[Tensor, " n"],
        *,
        targets: Int[Tensor, " n"] | None = None,
        rng: Rng,
    ) -> Float[Tensor, "n c h w"]:
        """Adversarial images in [0, 1] within the budget; where none is found, the strongest try.

        Args:
            model: maps images in [0, 1] to logits, in eval mode.
            inputs: clean images in [0, 1].
            labels: true classes.
            targets: classes to reach; None = any class but the label.
            rng: keyed randomness for these examples.

        Raises:
            InputError: targets that equal labels, classes that the model does not have, a model in train
                mode, logits that are not finite, a gradient that does not exist.
        """


@dataclass(frozen=True)
class Goal:
    """When an example counts as broken: as soon as the model leaves `classes`, or once it takes it for them.

    Attributes:
        classes: the labels to leave or the targets to reach, int64 [n].
        targeted: which of the two.
        least: how many outputs a model needs to have them all.
    """

    classes: Int[Tensor, " n"]
    targeted: bool
    least: int

    @staticmethod
    def of(
        model: Model, inputs: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], targets: Int[Tensor, " n"] | None
    ) -> "Goal":
        """The goal of an attack call, after a look at its arguments."""
        check_task(model, inputs, labels, targets)
        classes = labels if targets is None else targets
        return Goal(classes, targets is not None, int(classes.max()) + 1)

    def reached(self, logits: Float[Tensor, "n k"]) -> Bool[Tensor, " n"]:
        return (logits.argmax(1) == self.classes) == self.targeted

    def gain(self, logits: Float[Tensor, "n k"], loss: Loss = losses.margin) -> Float[Tensor, " n"]:
        """What to maximise. For the margin loss it is positive where the goal is reached."""
        value = loss(logits, self.classes)
        return -value if self.targeted else value

    def select(self, rows: Tensor | list[int]) -> "Goal":
        """The goal of the examples at `rows` (indices or a mask)."""
        return Goal(self.classes[rows], self.targeted, self.least)

    def repeat(self, count: int) -> "Goal":
        """The goal of `count` images an example, those of one example side by side."""
        return Goal(self.classes.repeat_interleave(count), self.targeted, self.least)

    def gains(self, model: Model, images: Float[Tensor, "n q c h w"]) -> Float[Tensor, "n q"]:
        """The margin of many images an example, asked for without gradients and `QUERY_BATCH` at a time."""
        flat, goal = images.flatten(0, 1), self.repeat(images.shape[1])
        parts = torch.arange(len(flat), device=flat.device).split(QUERY_BATCH)
        with torch.no_grad():
            gains = [(here := goal.select(rows)).gain(here.answers(model, flat[rows])) for rows in parts]
        return torch.cat(gains).view(images.shape[:2])

    def answers(self, model: Model, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """The model's logits for `images`, finite and with an output for every class of the goal."""
        logits = model(images)
        check_logits(logits, images)
        if self.least > logits.shape[1]:
            raise InputError(
                f"a class to {'reach' if self.targeted else 'leave'} is {self.least - 1}",
                rule=f"the model has the classes 0 to {logits.shape[1] - 1}",
                remedy="Check labels and targets, or use a model made for this data set",
            )
        return logits


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
    except RuntimeError as error:
        raise InputError(
            f"the model gives no gradient by its input ({str(error).splitlines()[0]})",
            rule="this attack follows gradients",
            remedy="Name the parts that have none: BPDA(attack=PGD(), parts=('...',)), or use an attack that only asks"
            " (noise, square, spsa, zoo, hopskipjump)",
        ) from error
    return gradient


def format_eps(eps: float, norm: str) -> str:
    """linf budgets in grey levels ("8/255"), the others as they are; nothing for an infinite one."""
    if math.isinf(eps):
        return ""
    return f"{eps * 255:.4g}/255" if norm == "linf" else f"{eps:.4g}"
