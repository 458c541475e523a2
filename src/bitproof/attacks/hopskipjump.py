"""HopSkipJump: the nearest adversarial image from decisions alone, without logits.

Each iteration bisects back to the boundary, estimates its normal from the decisions around that point, and
jumps along it as far as the image stays adversarial.

Source: Chen, Jordan & Wainwright 2020 (arXiv 1904.02144), Algorithm 2; the constants are those of its
Section IV: 100 sqrt(t) directions in iteration t, at a radius that is sqrt(d) (l2) or d (linf) times the
precision of the bisection.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bitproof.attacks.base import Goal, few_at_a_time, format_eps
from bitproof.attacks.checks import check_counts
from bitproof.attacks.nearest import MinimumNorm, Nearest, check_limit
from bitproof.core.balls import BALLS
from bitproof.core.calling import Model
from bitproof.core.rng import Rng
from bitproof.errors import lookup

HALVINGS = 12
"""Queries of a bisection: the boundary is found to 1/4096 of the way."""


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(MinimumNorm):
    """Minimum-norm boundary attack. Needs predicted classes only.

    Attributes:
        norm: "l2" or "linf".
        queries: most queries an example; nothing is started that would exceed it.
        directions: random directions in the first iteration, more by the square root of the iteration.
        tries: uniform random images tried as a start.
        eps: distance that counts as success; infinite = any.

    Example:
        >>> HopSkipJump(queries=1000).label
        'hopskipjump-1000 l2'
    """

    asks_only: ClassVar[bool] = True
    norm: str = "l2"
    queries: int = 10_000
    directions: int = 100
    tries: int = 100
    eps: float = math.inf

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(("l2", "linf")), self.norm, "norm of HopSkipJump")
        check_counts(self, "queries", "directions", "tries")
        check_limit(self.eps, self.norm)

    @property
    def label(self) -> str:
        return f"hopskipjump-{self.queries} {self.norm} {format_eps(self.eps, self.norm)}".rstrip()

    @property
    def passes(self) -> int:
        return self.queries

    @torch.no_grad()
    def search(self, model: Model, goal: Goal, nearest: Nearest, rng: Rng) -> None:
        self._start(model, goal, nearest, rng)
        rows = nearest.found.nonzero()[:, 0]
        goal, rng, clean = goal.select(rows), rng.select(rows.cpu().numpy()), nearest.inputs[rows]
        spent, t = self.tries + HALVINGS, 1
        while len(rows) and spent + (cost := round(self.directions * t**0.5) + 2 * HALVINGS) <= self.queries:
            boundary = nearest.images[rows]
            keyed, count = rng.fold("directions", t), cost - 2 * HALVINGS
            parts = few_at_a_time(len(rows), count)
            direction = torch.cat(
                [self._normal(model, goal.select(p), clean[p], boundary[p], keyed.select(p), count, t) for p in parts]
            )
            jumped = self._jump(model, goal, boundary, direction, nearest.distances[rows] / t**0.5)
            nearest.offer(*self._bisect(model, goal, clean, jumped), rows)
            spent, t = spent + cost, t + 1

    def _start(self, model: Model, goal: Goal, nearest: Nearest, rng: Rng) -> None:
        """The first of several random images that hits, brought to the boundary."""
        inputs = nearest.inputs
        active = torch.arange(len(inputs), device=inputs.device)
        for attempt in range(min(self.tries, self.queries - HALVINGS)):
            draws = rng.select(active.cpu().numpy()).fold("start", attempt).uniform(tuple(inputs.shape[1:])).to(inputs)
            here = goal.select(active)
            hit = here.gains(model, draws[:, None])[:, 0] > 0
            if hit.any():
                nearest.offer(draws, hit, active)
                found = active[hit]
                nearest.offer(*self._bisect(model, goal.select(found), inputs[found], draws[hit]), found)
                active = active[~hit]
            if not len(active):
                return

    def _bisect(
        self, model: Model, goal: Goal, clean: Tensor, x: Tensor
    ) -> tuple[Float[Tensor, "n c h w"], Bool[Tensor, " n"]]:
        """The adversarial image next to the boundary between `clean` and the adversarial `x`."""
        low, high = torch.zeros_like(clean[:, 0, 0, 0]), torch.ones_like(clean[:, 0, 0, 0])
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            hit = goal.gains(model, self._blend(clean, x, middle)[:, None])[:, 0] > 0
            low, high = torch.where(hit, low, middle), torch.where(hit, middle, high)
        return self._blend(clean, x, high), torch.ones_like(high, dtype=torch.bool)

    def _blend(self, clean: Tensor, x: Tensor, share: Tensor) -> Tensor:
        """The image at `share` of the distance: on the line under l2, clipped to the ball under linf."""
        delta, share = x - clean, share.view(-1, 1, 1, 1)
        if self.norm == "l2":
            return clean + share * delta
        size = share * delta.abs().amax((1, 2, 3), keepdim=True)
        return clean + delta.clamp(-size, size)

    def _normal(
        self, model: Model, goal: Goal, clean: Tensor, x: Tensor, rng: Rng, count: int, t: int
    ) -> Float[Tensor, "n c h w"]:
        """The direction of the boundary's normal, from the decisions at random points around x (Eq. 16)."""
        ball, dimensions = BALLS[self.norm], x[0].numel()
        distance = ball.norm(x - clean).view(-1, 1, 1, 1, 1)
        radius = 0.1 if t == 1 else distance * 2.0**-HALVINGS * (dimensions**0.5 if self.norm == "l2" else dimensions)
        noise = rng.normal((count, *x.shape[1:])).to(x)
        if self.norm == "linf":
            noise = noise.sign()
        noise /= noise.flatten(2).norm(dim=2).view(*noise.shape[:2], 1, 1, 1)
        points = (x[:, None] + radius * noise).clamp_(0, 1)
        noise = (points - x[:, None]) / radius
        says = torch.where(goal.gains(model, points) > 0, 1.0, -1.0).to(x)
        mean = says.mean(1, keepdim=True)
        weights = torch.where(mean.abs() < 1, says - mean, says)
        return ball.steepest(torch.einsum("np,npchw->nchw", weights, noise))

    def _jump(self, model: Model, goal: Goal, x: Tensor, direction: Tensor, size: Float[Tensor, " n"]) -> Tensor:
        """As far along `direction` as `size`, halved until the image is adversarial; else x itself."""
        result = x.clone()
        active = torch.arange(len(x), device=x.device)
        for _ in range(HALVINGS):
            here = goal.select(active)
            tried = (x[active] + size[active].view(-1, 1, 1, 1) * direction[active]).clamp_(0, 1)
            hit = here.gains(model, tried[:, None])[:, 0] > 0
            result[active[hit]] = tried[hit]
            active, size = active[~hit], size / 2
            if not len(active):
                break
        return result
