"""FMN, the fast minimum-norm attack: every budget's answer in one run.

    eps_t       shrinks by gamma_t where x_t is adversarial, grows where it is not; before the first hit it is at
                least the distance to the boundary of the linearised model
    delta_{t+1} = clip( project_{eps_t}( delta_t + alpha_t eps_t * unit(grad margin) ) )

with gamma and alpha falling along a cosine.

Source: Pintor et al. 2021 (arXiv 2102.12827), Algorithm 1. Three things differ: a step is in proportion to the
radius, so one step size serves all images and norms; under linf it follows the sign of the gradient; and before
the first hit the radius keeps growing where the box stops the image short of it, which otherwise never breaks
images with many values at 0 and 1.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.attacks.base import Attack, Classes, Images
from bitproof.attacks.checks import check_counts, check_positive, check_rate, warn_masked
from bitproof.attacks.goal import input_gradient
from bitproof.attacks.nearest import Nearest
from bitproof.core.balls import BALLS, Ball, check_eps
from bitproof.core.calling import Model
from bitproof.core.rng import Rng
from bitproof.errors import lookup


@dataclass(frozen=True, kw_only=True)
class FMN(Attack):
    """Minimum-norm attack under linf, l2 or l1.

    Attributes:
        norm: what is minimised, "linf", "l2" or "l1".
        steps: gradient steps.
        step_size: first step, as a multiple of the current radius.
        gamma: first rate at which the radius shrinks and grows, in (0, 1).
        eps: distance that counts as success; infinite = any.

    Example:
        >>> FMN(norm="linf").label
        'fmn-100 linf'
    """

    norm: str = "l2"
    steps: int = 100
    step_size: float = 0.3
    gamma: float = 0.05
    eps: float = math.inf

    def __post_init__(self) -> None:
        lookup(BALLS, self.norm, "norm")
        check_counts(self, "steps")
        check_positive(step_size=self.step_size)
        check_rate(gamma=self.gamma)
        check_eps(self.eps, self.norm, endless=True)

    @property
    def label(self) -> str:
        return f"fmn-{self.steps} {self.budget}"

    @property
    def passes(self) -> int:
        return 2 * self.steps

    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        goal, nearest = self.goal(model, inputs, labels, targets), Nearest.none_yet(inputs, self.norm)
        ball = nearest.ball
        delta = torch.zeros_like(inputs)
        eps = inputs.new_zeros(len(inputs))
        for t in range(self.steps):
            cosine = (1 + math.cos(math.pi * t / self.steps)) / 2
            alpha = self.step_size * (0.01 + 0.99 * cosine)
            gamma = 0.001 + (self.gamma - 0.001) * cosine
            x = (inputs + delta).requires_grad_()
            logits = goal.answers(model, x)
            gain = goal.gain(logits)
            gradient = input_gradient(gain.sum(), x)
            with torch.no_grad():
                hit = goal.reached(logits)
                if not t:
                    warn_masked(gradient, hit)
                nearest.offer(x, hit)
                boundary = ball.norm(delta) + gain.abs() / ball.dual.norm(gradient).clamp(min=1e-12)
                grown = torch.where(nearest.found, eps * (1 + gamma), torch.maximum(boundary, eps * (1 + self.gamma)))
                eps = torch.where(hit, torch.minimum(eps * (1 - gamma), nearest.distances * (1 - gamma)), grown)
                unit = (ball if self.norm == "linf" else BALLS["l2"]).steepest(gradient)
                delta += (alpha * eps).view(-1, 1, 1, 1) * unit
                delta = _project(ball, delta, eps)
                delta = (inputs + delta).clamp_(0, 1) - inputs
        return nearest.within(self.eps)


def _project(ball: Ball, delta: Float[Tensor, "n ..."], eps: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
    """The nearest perturbation of size at most its own eps."""
    scale = eps.clamp(min=1e-12).view(-1, 1, 1, 1)
    return ball.project(delta / scale, 1.0) * scale
