"""What pooled attacks, those of the AutoAttack family, share: an active set, asked in full batches.

They take any number of examples and move those that still stand in step. What is broken leaves; the rest
close ranks, so a pass holds `batch_size` examples for as long as so many stand.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bitproof.attacks.base import Classes, Images
from bitproof.attacks.checks import check_answers
from bitproof.attacks.goal import Goal, input_gradient
from bitproof.core.balls import BALLS
from bitproof.core.calling import Model, check_logits, logits_of
from bitproof.core.rng import Rng

Gain = Callable[[Tensor, Goal], Tensor]
"""What an attack maximises, from logits [n, k]: one value an example, or a row of them [n, m]."""


@dataclass
class Found:
    """What a search has found so far. `take` and `merge` write into it.

    Attributes:
        images: the first image that broke each example; for the others the strongest try.
        broken: which examples are broken.
    """

    images: Float[Tensor, "n c h w"]
    broken: Bool[Tensor, " n"]

    @staticmethod
    def nothing(images: Tensor) -> "Found":
        return Found(images.clone(), torch.zeros(len(images), dtype=torch.bool, device=images.device))

    @property
    def standing(self) -> Int[Tensor, " m"]:
        """Rows of the examples that are not broken."""
        return (~self.broken).nonzero()[:, 0]

    def take(self, rows: Int[Tensor, " m"], images: Float[Tensor, "m c h w"]) -> None:
        """Note that `images` break the examples at `rows`."""
        self.images[rows] = images.detach()
        self.broken[rows] = True

    def merge(self, rows: Int[Tensor, " m"], part: "Found") -> None:
        """Note what a search among the examples at `rows` found."""
        self.images[rows] = part.images
        self.broken[rows] = part.broken


@dataclass(frozen=True)
class Answer:
    """What the model says to images, and what would raise the gain.

    Attributes:
        reached: whose goal is reached.
        gain: the value that the attack maximises.
        gradient: of the gain by the image; the gain's columns, where it has any, come second.
    """

    reached: Bool[Tensor, " n"]
    gain: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class Asked:
    """A model that is asked in batches.

    Attributes:
        model: maps images in [0, 1] to logits.
        batch_size: images a pass.
        draws: answers that are averaged, for a model that answers at random: gains and gradients by their
            mean, predictions by the mean of the probabilities.
    """

    model: Model
    batch_size: int
    draws: int = 1

    @torch.no_grad()
    def logits(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Scores in float64, whose largest is the prediction."""
        return torch.cat(
            [self._mean([self._scores(images[part]) for _ in self._draws]) for part in self._parts(images)]
        )

    def gain(self, images: Float[Tensor, "n c h w"], goal: Goal, gain: Gain) -> tuple[Tensor, Tensor]:
        """Whose goal is reached, and the gains: a forward an example and draw."""
        reached, gains = [], []
        for part in self._parts(images):
            with torch.no_grad():
                scores = [self._scores(images[part]) for _ in self._draws]
                reached.append(goal[part].reached(self._mean(scores)))
                gains.append(torch.stack([gain(s, goal[part]) for s in scores]).mean(0))
        return torch.cat(reached), torch.cat(gains)

    def ascent(self, images: Float[Tensor, "n c h w"], goal: Goal, gain: Gain, within: Tensor | None = None) -> Answer:
        """The answer with gradients: a forward and a backward (for each column) an example and draw.

        A batch in which every example reached its goal, `within` the budget, has no use for gradients: it gets
        zeros and is spared the backward.
        """
        answers = []
        for part in self._parts(images):
            counts = True if within is None else within[part]
            x = images[part].detach().requires_grad_()
            scores, gains, gradients = [], [], []
            for _ in self._draws:
                with torch.enable_grad():
                    logits = self._scores(x)
                    value = gain(logits, goal[part])
                scores.append(logits.detach())
                gains.append(value.detach())
                if len(self._draws) == 1 and bool((goal[part].reached(logits) & counts).all()):
                    gradients.append(x.new_zeros(*value.shape, *x.shape[1:]))
                else:
                    gradients.append(_gradient(value, x))
            answers.append(
                (goal[part].reached(self._mean(scores)), torch.stack(gains).mean(0), torch.stack(gradients).mean(0))
            )
        return Answer(*(torch.cat(column) for column in zip(*answers, strict=True)))

    @property
    def _draws(self) -> range:
        return range(self.draws)

    def _parts(self, images: Tensor) -> Iterator[slice]:
        return (slice(i, i + self.batch_size) for i in range(0, max(len(images), 1), self.batch_size))

    def _scores(self, images: Tensor) -> Tensor:
        logits = logits_of(self.model, images)
        check_logits(logits, images)
        return logits.double()  # a confident model's small differences survive

    def _mean(self, scores: list[Tensor]) -> Tensor:
        return scores[0] if len(scores) == 1 else torch.stack([s.softmax(1) for s in scores]).mean(0)


def _gradient(gain: Tensor, images: Tensor) -> Tensor:
    if gain.dim() == 1:
        return input_gradient(gain.sum(), images)
    return torch.stack([input_gradient(column.sum(), images, keep_graph=True) for column in gain.unbind(1)], 1)


def goals(asked: Asked, inputs: Float[Tensor, "n c h w"], goal: Goal, classes: int) -> list[Goal]:
    """The goal with each of the likeliest wrong classes as its aim, likeliest first (a forward an example).

    The goal itself if `classes` is 0 or it has an aim. No more than the model's wrong classes.
    """
    if not classes or goal.aims is not None:
        return [goal]
    logits = asked.logits(inputs).scatter(1, goal.labels[:, None], -torch.inf)
    order = logits.argsort(dim=1, descending=True, stable=True)[:, : min(classes, logits.shape[1] - 1)]
    return [Goal(goal.labels, aims) for aims in order.unbind(1)]


def safe_radius(eps: float, norm: str, images: Float[Tensor, "n c h w"]) -> float:
    """A radius a little below `eps`: clean + delta, rounded to float32, still lies within eps of clean."""
    return max(eps - 2**-24 * BALLS[norm].diameter(images.shape[1:].numel()), 0.0)


def call_pooled(
    self: Any,
    model: Model,
    inputs: Images,
    labels: Classes,
    *,
    targets: Classes | None = None,
    rng: Rng,
    batch_size: int | None = None,
) -> Images:
    """The `__call__` of an attack that has `search(asked, inputs, goal, rng) -> Found`, as `Attack.__call__`.

    It first asks about up to eight examples, and about three of them twice more (see `checks`), beyond `passes`.

    Args:
        batch_size: most images a pass; None = all of them. The result does not depend on it.

    Raises:
        InputError: also for a model that has too few classes for the loss, or that answers at random to an attack
            that does not average.
    """
    goal = self.goal(model, inputs, labels, targets)
    check_answers(model, inputs, goal, self.averaged)
    asked = Asked(model, batch_size or max(len(inputs), 1), self.averaged)
    return self.search(asked, inputs, goal, rng).images
