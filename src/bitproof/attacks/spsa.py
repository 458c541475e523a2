"""SPSA: gradients from pairs of random queries, followed by Adam. Needs answers only.

    g = mean_i [ margin(x + delta v_i) - margin(x - delta v_i) ] / (2 delta) * v_i,   v_i random signs

Source: Uesato et al. 2018 (arXiv 1802.05666), Algorithm 1. The defaults are those of Bernhard et al. 2019
(1909.12741), Table 13.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.attacks.base import TO_THE_END, Attack, Classes, Images
from bitproof.attacks.checks import check_counts, check_positive
from bitproof.attacks.goal import Goal, few_at_a_time
from bitproof.core.adam import adam
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.calling import Model
from bitproof.core.rng import Rng
from bitproof.errors import InputError, lookup


@dataclass(frozen=True, kw_only=True)
class SPSA(Attack):
    """Gradient ascent on estimates from random pairs of answers. Needs answers only.

    Each iteration asks `samples` queries and one more at the new image; a hit ends it.

    Attributes:
        norm: the ball, "linf", "l2" or "l1".
        eps: its radius, in [0, 1] pixel units.
        steps: iterations.
        learning_rate: Adam's, in pixel units.
        delta: size of a query's displacement of each value, in pixel units.
        samples: queries an iteration, in mirrored pairs; an even number.
        stop_at_hit: whether an example is left at its first hit. False takes all steps and gives the last image.

    Example:
        >>> SPSA().label
        'spsa-100x128 linf 7.65/255'
    """

    asks_only = True
    norm: str = "linf"
    eps: float = 0.03
    steps: int = 100
    learning_rate: float = 0.01
    delta: float = 0.01
    samples: int = 128
    stop_at_hit: bool = True

    def __post_init__(self) -> None:
        lookup(BALLS, self.norm, "norm")
        check_eps(self.eps, self.norm)
        check_counts(self, "steps", "samples")
        check_positive(learning_rate=self.learning_rate, delta=self.delta)
        if self.samples % 2:
            raise InputError(f"samples is {self.samples}", rule="queries come in pairs", remedy="Use an even number")

    @property
    def label(self) -> str:
        return " ".join([f"spsa-{self.steps}x{self.samples} {self.budget}", *TO_THE_END[self.stop_at_hit]])

    @property
    def passes(self) -> int:
        return self.steps * (self.samples + 1)

    @torch.no_grad()
    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        goal, ball = self.goal(model, inputs, labels, targets), BALLS[self.norm]
        best = inputs.clone()
        active = torch.arange(len(inputs), device=inputs.device)
        x = inputs
        first, second = torch.zeros_like(x), torch.zeros_like(x)
        for t in range(1, self.steps + 1):
            left = ~(goal.reached(goal.answers(model, x)) & self.stop_at_hit)
            best[active] = x
            if not left.any():
                return best
            active, goal, x, first, second = active[left], goal[left], x[left], first[left], second[left]
            keyed = rng.select(active.cpu().numpy()).fold("signs", t)
            parts = few_at_a_time(len(x), self.samples)
            gradient = torch.cat([self._estimate(model, goal[p], x[p], keyed.select(p)) for p in parts])
            step, first, second = adam(gradient, first, second, t)
            clean = inputs[active]
            x = (clean + ball.project(x + self.learning_rate * step - clean, self.eps)).clamp_(0, 1)
        best[active] = x
        return best

    def _estimate(self, model: Model, goal: Goal, x: Tensor, rng: Rng) -> Float[Tensor, "n c h w"]:
        draws = rng.uniform((self.samples // 2, *x.shape[1:]))
        signs = torch.where(draws < 0.5, -1.0, 1.0).to(x)
        rise = goal.gains(model, x[:, None] + self.delta * signs) - goal.gains(model, x[:, None] - self.delta * signs)
        return torch.einsum("np,npchw->nchw", rise, signs) / (self.samples * self.delta)
