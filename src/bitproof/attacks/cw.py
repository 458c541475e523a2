"""Carlini & Wagner's l2 attack: the smallest change that is misclassified with a given confidence.

    minimise |x' - x|^2 + c max(kappa - gain(x'), 0)  over w,  x' = (tanh(w) + 1) / 2

by Adam, with a binary search over c for every example.

Source: Carlini & Wagner 2017 (arXiv 1608.04644), Section V and VI.A. The defaults are those of Bernhard et
al. 2019 (1909.12741), Table 14.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bitproof.attacks.base import Attack, Goal, Model, format_eps, input_gradient
from bitproof.core.rng import Rng
from bitproof.errors import InputError

BETA1, BETA2 = 0.9, 0.999


@dataclass(frozen=True, kw_only=True)
class CW(Attack):
    steps: int = 100
    learning_rate: float = 0.1
    initial_constant: float = 0.9
    search_steps: int = 10
    kappa: float = 0.0
    eps: float = math.inf
    shrink: float = 1e-3
    tail: float = 1.0
    warm: bool = False
    abort: float = 0.9999
    window: int = 10

    @property
    def norm(self) -> str:
        return "l2"

    @property
    def label(self) -> str:
        return f"cw l2"

    @property
    def passes(self) -> int:
        return 2 * self.steps * self.search_steps

    def __call__(self, model, inputs, labels, *, targets=None, rng):
        goal = Goal.of(model, labels, targets)
        n = len(inputs)
        best = inputs.clone()
        nearest = inputs.new_full((n,), math.inf)
        c = inputs.new_full((n,), self.initial_constant)
        low, high = torch.zeros_like(c), torch.full_like(c, math.inf)
        for _ in range(self.search_steps):
            found = self._minimise(model, inputs, goal, c, best, nearest)
            high = torch.where(found, torch.minimum(high, c), high)
            low = torch.where(found, low, torch.maximum(low, c))
            c = torch.where(high.isinf(), 10 * low, (low + high) / 2)
        return best

    def _minimise(self, model, x0, goal, c, best, nearest):
        start = ((2 * x0 - 1) * (1 - self.shrink)).atanh()
        w = start.clone()
        if self.warm:
            w = ((2 * best - 1) * (1 - self.shrink)).atanh()
        first, second = torch.zeros_like(w), torch.zeros_like(w)
        found = torch.zeros(len(w), dtype=torch.bool)
        previous = torch.full_like(c, math.inf)
        active = torch.arange(len(w))
        lrs = self.learning_rate
        for t in range(1, self.steps + 1):
            tanh = w.tanh()
            x = ((tanh + 1) / 2).requires_grad_()
            logits = goal.answers(model, x)
            excess = (self.kappa - goal.gain(logits)).clamp(min=0)
            gradient = input_gradient((c * excess).sum(), x)
            with torch.no_grad():
                hit = excess.detach() <= 0 if self.kappa else goal.reached(logits)
                delta = x - x0
                square = delta.square().flatten(1).sum(1)
                better = hit & (square < nearest[active])
                best[active[better]] = x[better]
                nearest[active[better]] = square[better]
                found[active[hit]] = True
                total = square + c * excess
                gradient = (gradient + 2 * delta) * (1 - tanh.square()) / 2
                first.lerp_(gradient, 1 - BETA1)
                second.lerp_(gradient.square(), 1 - BETA2)
                lr = lrs * (1 - (1 - self.tail) * t / self.steps)
                step = (first / (1 - BETA1**t)) / ((second / (1 - BETA2**t)).sqrt() + 1e-12)
                w = w - lr * step
                if t % max(1, self.steps // self.window) == 0:
                    left = total < self.abort * previous
                    previous = total
                    if not left.all():
                        w, first, second, x0, c = w[left], first[left], second[left], x0[left], c[left]
                        previous, active, goal = previous[left], active[left], goal.select(left)
                    if not len(active):
                        break
        return found
