"""SPSA: gradients from pairs of random queries, followed by Adam. Needs answers only.

    g = mean_i [ margin(x + delta v_i) - margin(x - delta v_i) ] / (2 delta) * v_i,   v_i random signs

Source: Uesato et al. 2018 (arXiv 1802.05666), Algorithm 1. The defaults are those of Bernhard et al. 2019
(1909.12741), Table 13.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bitproof.attacks.base import Attack, Goal, few_at_a_time, format_eps
from bitproof.attacks.checks import check_counts, check_positive
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.calling import Model
from bitproof.core.rng import Rng
from bitproof.errors import InputError, lookup

BETA1, BETA2, TINY = 0.9, 0.999, 1e-8


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

    Example:
        >>> SPSA().label
        'spsa-100x128 linf 7.65/255'
    """

    asks_only: ClassVar[bool] = True
    norm: str = "linf"
    eps: float = 0.03
    steps: int = 100
    learning_rate: float = 0.01
    delta: float = 0.01
    samples: int = 128

    def __post_init__(self) -> None:
        lookup(BALLS, self.norm, "norm")
        check_eps(self.eps, self.norm)
        check_counts(self, "steps", "samples")
        check_positive(learning_rate=self.learning_rate, delta=self.delta)
        if self.samples % 2:
            raise InputError(f"samples is {self.samples}", rule="queries come in pairs", remedy="Use an even number")

    @property
    def label(self) -> str:
        return f"spsa-{self.steps}x{self.samples} {self.norm} {format_eps(self.eps, self.norm)}"

    @property
    def passes(self) -> int:
        return self.steps * (self.samples + 1)

    @torch.no_grad()
    def __call__(
        self,
        model: Model,
        inputs: Float[Tensor, "n c h w"],
        labels: Int[Tensor, " n"],
        *,
        targets: Int[Tensor, " n"] | None = None,
        rng: Rng,
    ) -> Float[Tensor, "n c h w"]:
        check_eps(self.eps, self.norm, inputs[0].numel())
        goal, ball = Goal.of(model, inputs, labels, targets), BALLS[self.norm]
        best = inputs.clone()
        active = torch.arange(len(inputs), device=inputs.device)
        x = inputs
        first, second = torch.zeros_like(x), torch.zeros_like(x)
        for t in range(1, self.steps + 1):
            left = ~goal.reached(goal.answers(model, x))
            best[active] = x
            if not left.any():
                return best
            active, goal, x, first, second = active[left], goal.select(left), x[left], first[left], second[left]
            keyed = rng.select(active.cpu().numpy()).fold("signs", t)
            parts = few_at_a_time(len(x), self.samples)
            gradient = torch.cat([self._estimate(model, goal.select(p), x[p], keyed.select(p)) for p in parts])
            first.lerp_(gradient, 1 - BETA1)
            second.lerp_(gradient.square(), 1 - BETA2)
            step = first / (1 - BETA1**t) / ((second / (1 - BETA2**t)).sqrt() + TINY)
            clean = inputs[active]
            x = (clean + ball.project(x + self.learning_rate * step - clean, self.eps)).clamp_(0, 1)
        best[active] = x
        return best

    def _estimate(self, model: Model, goal: Goal, x: Tensor, rng: Rng) -> Float[Tensor, "n c h w"]:
        draws = rng.uniform((self.samples // 2, *x.shape[1:]))
        signs = torch.where(draws < 0.5, -1.0, 1.0).to(x)
        rise = goal.gains(model, x[:, None] + self.delta * signs) - goal.gains(model, x[:, None] - self.delta * signs)
        return torch.einsum("np,npchw->nchw", rise, signs) / (self.samples * self.delta)
