"""Uniform random noise: the weakest attack, and the check that a stronger one does more than chance.

Source: Lin et al. 2019 (arXiv 1904.08444), Section 2.2.1, "random".
"""

from dataclasses import dataclass

import torch

from bitproof.attacks.base import Attack, Classes, Images
from bitproof.attacks.checks import check_counts
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.calling import Model
from bitproof.core.rng import Rng
from bitproof.errors import lookup


@dataclass(frozen=True, kw_only=True)
class Noise(Attack):
    """Uniform draws from an lp ball, clipped to [0, 1]. Needs answers only.

    Attributes:
        norm: the ball, "linf", "l2" or "l1".
        eps: its radius, in [0, 1] pixel units.
        draws: how many to try; an example is left alone after its first hit.

    Example:
        >>> Noise(eps=8 / 255).label
        'noise linf 8/255'
    """

    asks_only = True
    norm: str = "linf"
    eps: float = 8 / 255
    draws: int = 1

    def __post_init__(self) -> None:
        lookup(BALLS, self.norm, "norm")
        check_eps(self.eps, self.norm)
        check_counts(self, "draws")

    @property
    def label(self) -> str:
        return f"noise{f'-{self.draws}' * (self.draws > 1)} {self.budget}"

    @property
    def passes(self) -> int:
        return self.draws - 1

    @torch.no_grad()
    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        goal = self.goal(model, inputs, labels, targets)
        best = inputs.clone()
        active = torch.arange(len(inputs), device=inputs.device)
        for draw in range(self.draws):
            keyed = rng.select(active.cpu().numpy()).fold("draw", draw)
            noise = BALLS[self.norm].sample(keyed, tuple(inputs.shape[1:]), self.eps)
            best[active] = (inputs[active] + noise.to(inputs)).clamp_(0, 1)
            if draw + 1 < self.draws:
                here = goal[active]
                active = active[~here.reached(here.answers(model, best[active]))]
                if not len(active):
                    break
        return best
