"""DDN: the direction follows the gradient, the norm is steered by whether the image is adversarial.

    eps_{t+1}   = eps_t (1 - gamma) if x_t is adversarial, else eps_t (1 + gamma)
    delta_{t+1} = eps_{t+1} * unit( delta_t + alpha_t * unit(grad loss(x_t)) )

with alpha falling from 1 to 0.01 along a cosine.

Source: Rony et al. 2019 (arXiv 1811.09600), Algorithm 1.
"""

import math
from dataclasses import dataclass

import torch

from bitproof.attacks.base import Attack, Classes, Images
from bitproof.attacks.checks import check_counts, check_positive, check_rate, warn_masked
from bitproof.attacks.goal import input_gradient
from bitproof.attacks.nearest import Nearest
from bitproof.core.balls import check_eps
from bitproof.core.calling import Model
from bitproof.core.losses import cross_entropy
from bitproof.core.rng import Rng


@dataclass(frozen=True, kw_only=True)
class DDN(Attack):
    """Minimum-norm attack under l2.

    Attributes:
        steps: gradient steps.
        start_eps: first radius, in [0, 1] pixel units.
        gamma: rate at which the radius shrinks and grows, in (0, 1).
        eps: distance that counts as success; infinite = any.

    Example:
        >>> DDN().label
        'ddn-100 l2'
    """

    norm = "l2"
    steps: int = 100
    start_eps: float = 1.0
    gamma: float = 0.05
    eps: float = math.inf

    def __post_init__(self) -> None:
        check_counts(self, "steps")
        check_positive(start_eps=self.start_eps)
        check_rate(gamma=self.gamma)
        check_eps(self.eps, self.norm, endless=True)

    @property
    def label(self) -> str:
        return f"ddn-{self.steps} {self.budget}"

    @property
    def passes(self) -> int:
        return 2 * self.steps

    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        goal, nearest = self.goal(model, inputs, labels, targets), Nearest.none_yet(inputs, self.norm)
        ball = nearest.ball
        delta = torch.zeros_like(inputs)
        size = inputs.new_full((len(inputs),), self.start_eps)
        for t in range(self.steps):
            alpha = 0.01 + 0.99 * (1 + math.cos(math.pi * t / self.steps)) / 2
            x = (inputs + delta).requires_grad_()
            logits = goal.answers(model, x)
            gradient = input_gradient(goal.gain(logits, cross_entropy).sum(), x)
            with torch.no_grad():
                hit = goal.reached(logits)
                if not t:
                    warn_masked(gradient, hit)
                nearest.offer(x, hit)
                size = size * torch.where(hit, 1 - self.gamma, 1 + self.gamma)
                delta = ball.steepest(delta + alpha * ball.steepest(gradient)) * size.view(-1, 1, 1, 1)
                delta = (inputs + delta).clamp_(0, 1) - inputs
        return nearest.within(self.eps)
