"""HopSkipJump: the nearest adversarial image from decisions alone, without logits.

Each iteration bisects back to the boundary, estimates its normal from the decisions around that point, and
jumps along it as far as the image stays adversarial.

Source: Chen, Jordan & Wainwright 2020 (arXiv 1904.02144), Algorithm 2; the constants are those of its
Section IV: 100 sqrt(t) directions in iteration t, at a radius that is sqrt(d) (l2) or d (linf) times the
precision of the bisection.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bitproof.attacks.base import Attack, Classes, Images
from bitproof.attacks.checks import check_counts
from bitproof.attacks.goal import Goal, few_at_a_time
from bitproof.attacks.nearest import Nearest
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.calling import Model
from bitproof.core.rng import Rng
from bitproof.errors import lookup

HALVINGS = 12
"""Queries of a bisection: the boundary is found to 1/4096 of the way."""


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(Attack):
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

    asks_only = True
    norm: str = "l2"
    queries: int = 10_000
    directions: int = 100
    tries: int = 100
    eps: float = math.inf

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(("l2", "linf")), self.norm, "norm of HopSkipJump")
        check_counts(self, "queries", "directions", "tries")
        check_eps(self.eps, self.norm, endless=True)

    @property
    def label(self) -> str:
        return f"hopskipjump-{self.queries} {self.budget}"

    @property
    def passes(self) -> int:
        return self.queries

    @torch.no_grad()
    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        goal, nearest = self.goal(model, inputs, labels, targets), Nearest.none_yet(inputs, self.norm)
        self._start(model, goal, nearest, rng)
        rows = nearest.found.nonzero()[:, 0]
        goal, rng, clean = goal[rows], rng.select(rows.cpu().numpy()), inputs[rows]
        spent, t = self.tries + HALVINGS, 1
        while len(rows) and spent + (cost := round(self.directions * t**0.5) + 2 * HALVINGS) <= self.queries:
            boundary = nearest.images[rows]
            keyed, count = rng.fold("directions", t), cost - 2 * HALVINGS
            parts = few_at_a_time(len(rows), count)
            direction = torch.cat(
                [self._normal(model, goal[p], clean[p], boundary[p], keyed.select(p), count, t) for p in parts]
            )
            jumped = self._jump(model, goal, boundary, direction, nearest.distances[rows] / t**0.5)
            nearest.offer(*self._bisect(model, goal, clean, jumped), rows)
            spent, t = spent + cost, t + 1
        return nearest.within(self.eps)

    def _start(self, model: Model, goal: Goal, nearest: Nearest, rng: Rng) -> None:
        """The first of several random images that hits, brought to the boundary."""
        inputs = nearest.inputs
        active = torch.arange(len(inputs), device=inputs.device)
        for attempt in range(min(self.tries, self.queries - HALVINGS)):
            draws = rng.select(active.cpu().numpy()).fold("start", attempt).uniform(tuple(inputs.shape[1:])).to(inputs)
            here = goal[active]
            hit = here.gains(model, draws[:, None])[:, 0] > 0
            if hit.any():
                nearest.offer(draws, hit, active)
                found = active[hit]
                nearest.offer(*self._bisect(model, goal[found], inputs[found], draws[hit]), found)
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
        ball = BALLS[self.norm]
        distance = ball.norm(x - clean).view(-1, 1, 1, 1, 1)
        radius = 0.1 if t == 1 else distance * 2.0**-HALVINGS * ball.dual.diameter(x[0].numel())  # sqrt(d), or d
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
            here = goal[active]
            tried = (x[active] + size[active].view(-1, 1, 1, 1) * direction[active]).clamp_(0, 1)
            hit = here.gains(model, tried[:, None])[:, 0] > 0
            result[active[hit]] = tried[hit]
            active, size = active[~hit], size / 2
            if not len(active):
                break
        return result
