"""What attacks without a budget share: the nearest image so far that reached the goal, example by example."""

import abc
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bitproof.attacks.base import Attack, Goal
from bitproof.core.balls import BALLS, Ball, check_eps
from bitproof.core.calling import Model
from bitproof.core.rng import Rng


@dataclass(frozen=True)
class Nearest:
    """State of a search: images that reached the goal, and their distances (infinite until one did).

    Attributes:
        ball: the norm that measures.
        inputs: the clean images.
        images: the nearest ones; the clean ones until one was found.
        distances: from `inputs`, [n].
    """

    ball: Ball
    inputs: Float[Tensor, "n ..."]
    images: Float[Tensor, "n ..."]
    distances: Float[Tensor, " n"]

    @staticmethod
    def none_yet(inputs: Float[Tensor, "n ..."], norm: str) -> "Nearest":
        distances = inputs.new_full((len(inputs),), math.inf)
        return Nearest(BALLS[norm], inputs, inputs.clone(), distances)

    @property
    def found(self) -> Bool[Tensor, " n"]:
        return self.distances < math.inf

    def offer(
        self, images: Float[Tensor, "m ..."], hit: Bool[Tensor, " m"], rows: Tensor | slice = slice(None)
    ) -> None:
        """Keep those of `images` (candidates for the examples at `rows`) that hit and are nearer."""
        distances = self.ball.norm(images - self.inputs[rows])
        better = hit & (distances < self.distances[rows])
        at = torch.arange(len(self.inputs), device=better.device)[rows][better]
        self.images[at] = images[better].detach()
        self.distances[at] = distances[better].detach()

    def within(self, eps: float) -> Float[Tensor, "n ..."]:
        """The images; what is further away than `eps` is pulled back onto the ball, as the strongest try."""
        if math.isinf(eps):
            return self.images
        pulled = (self.inputs + self.ball.project(self.images - self.inputs, eps)).clamp_(0, 1)
        return torch.where((self.distances > eps).view(-1, *[1] * (pulled.dim() - 1)), pulled, self.images)


class MinimumNorm(Attack):
    """An attack that looks for the nearest image, whatever its budget."""

    @abc.abstractmethod
    def search(self, model: Model, goal: Goal, nearest: Nearest, rng: Rng) -> None:
        """Look for images that reach the goal, and offer them to `nearest`, which starts from the clean ones."""

    def __call__(
        self,
        model: Model,
        inputs: Float[Tensor, "n c h w"],
        labels: Int[Tensor, " n"],
        *,
        targets: Int[Tensor, " n"] | None = None,
        rng: Rng,
    ) -> Float[Tensor, "n c h w"]:
        check_limit(self.eps, self.norm, inputs[0].numel())
        goal, nearest = Goal.of(model, inputs, labels, targets), Nearest.none_yet(inputs, self.norm)
        self.search(model, goal, nearest, rng)
        return nearest.within(self.eps)


def check_limit(eps: float, norm: str, dimensions: int | None = None) -> None:
    """`check_eps` for attacks whose eps may be infinite."""
    if not math.isinf(eps):
        check_eps(eps, norm, dimensions)
