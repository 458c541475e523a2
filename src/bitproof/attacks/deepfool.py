"""DeepFool: steps to the nearest boundary of the linearised model, until the class changes.

    r = |f_l| / |w_l|_q^q' * (steepest direction of w_l),  l = argmin_k |f_k| / |w_k|_q,  f_k = z_k - z_label

where q is the dual norm.

Source: Moosavi-Dezfooli et al. 2016 (arXiv 1511.04599), Algorithm 2 and Section 3.2, whose 50 iterations, ten
candidate classes and overshoot of 2% are the defaults. It is a quick, rough estimate of the distance; FMN
and DDN find smaller ones. Here values that cannot move further, at 0 or 1, are left out of the linear model.
"""

import math
from dataclasses import dataclass

import torch

from bitproof.attacks.base import Attack, Classes, Images
from bitproof.attacks.checks import check_counts, check_positive, warn_masked
from bitproof.attacks.goal import input_gradient
from bitproof.attacks.nearest import Nearest
from bitproof.core.balls import check_eps
from bitproof.core.calling import Model
from bitproof.core.rng import Rng
from bitproof.errors import lookup

PROGRESS = 0.01
"""Least length of a step, as a share of the way so far: shorter ones do not leave the cell of a quantized model."""


@dataclass(frozen=True, kw_only=True)
class DeepFool(Attack):
    """Minimum-norm attack by linear steps over the nearest boundary, untargeted.

    An example leaves the batch at its first hit, or where no gradient moves it any more.

    Attributes:
        norm: "l2" or "linf".
        steps: most linearisations.
        candidates: how many of the likeliest other classes are looked at; each costs a backward a step.
        overshoot: how far beyond the boundary a step goes, as a share of the way there.
        eps: distance that counts as success; infinite = any.

    Example:
        >>> DeepFool(norm="l2").label
        'deepfool-50 l2'
    """

    takes_targets = False
    norm: str = "l2"
    steps: int = 50
    candidates: int = 9
    overshoot: float = 0.02
    eps: float = math.inf

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(("l2", "linf")), self.norm, "norm of DeepFool")
        check_counts(self, "steps", "candidates")
        check_positive(overshoot=self.overshoot)
        check_eps(self.eps, self.norm, endless=True)

    @property
    def label(self) -> str:
        return f"deepfool-{self.steps} {self.budget}"

    @property
    def passes(self) -> int:
        return self.steps * (1 + self.candidates) + 1

    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        goal, nearest = self.goal(model, inputs, labels, targets), Nearest.none_yet(inputs, self.norm)
        ball, x = nearest.ball, inputs
        active = torch.arange(len(x), device=x.device)
        for number in range(self.steps):
            x = x.detach().requires_grad_()
            logits = goal.answers(model, x)
            hit = goal.reached(logits)
            nearest.offer(x, hit, active)
            if hit.all():
                return nearest.within(self.eps)
            gaps = logits - logits.gather(1, goal.labels[:, None])
            others = gaps.detach().scatter(1, goal.labels[:, None], -math.inf)
            shortest = logits.new_full((len(x),), math.inf)
            step = torch.zeros_like(x)
            least = PROGRESS * ball.norm(x.detach() - inputs[active])
            for column in others.topk(min(self.candidates, logits.shape[1] - 1), dim=1).indices.T:
                gap = gaps.gather(1, column[:, None])[:, 0]
                gradient = input_gradient(gap.sum(), x, keep_graph=True)
                with torch.no_grad():
                    stuck = ((x <= 0) & (gradient < 0)) | ((x >= 1) & (gradient > 0))
                    gradient = gradient.masked_fill(stuck, 0)
                    distance = gap.abs() / ball.dual.norm(gradient).clamp(min=torch.finfo(x.dtype).tiny)
                    distance = torch.maximum(distance, least)
                    nearer = (distance < shortest) & (distance < math.inf)
                    shortest = torch.where(nearer, distance, shortest)
                    direction = ball.steepest(gradient) * distance.view(-1, 1, 1, 1)
                    step = torch.where(nearer.view(-1, 1, 1, 1), direction, step)
            if not number:
                warn_masked(step, hit)
            there = (x.detach() + (1 + self.overshoot) * step).clamp_(0, 1)
            left = ~hit & (there != x).flatten(1).any(1)  # what does not move now never will
            x, active, goal = there[left], active[left], goal[left]
            if not len(x):
                return nearest.within(self.eps)
        with torch.no_grad():
            nearest.offer(x, goal.reached(goal.answers(model, x)), active)
        return nearest.within(self.eps)
