"""The nearest image so far that reached the goal, example by example: the state of attacks without a budget."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bitproof.core.balls import BALLS, Ball


@dataclass
class Nearest:
    """Images that reached the goal, and their distances (infinite until one did). `offer` writes into both.

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
