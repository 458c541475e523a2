"""Fast adaptive boundary attack: linearise the decision boundary, step onto it, stay near the clean image.

    x' = clip_[0,1]( (1 - a) (x + eta d(x)) + a (x_0 + eta d(x_0)) )

where d(z) is the shortest step (in the norm) from z to the linearised boundary that stays in [0, 1], and `a`
grows with the distance already travelled. A point beyond the boundary is first pulled back towards the image.

Source: Croce & Hein 2020 (arXiv 1907.02044); FAB-T and its fixed budget as in AutoAttack (arXiv 2003.01690).

One thing differs. The paper asks the model twice a step: whether the new point is beyond the boundary, and after
pulling it back for the gradient there. Here the answer and the gradient come from one pass, at the point before
it is pulled back, so a step costs one forward instead of two.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.attacks.base import TO_THE_END, Attack
from bitproof.attacks.checks import check_counts, check_positive, check_rate, warn_masked
from bitproof.attacks.goal import Goal
from bitproof.attacks.pool import Asked, Found, call_pooled, goals, safe_radius
from bitproof.core import losses
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.rng import Rng
from bitproof.errors import lookup


@dataclass(frozen=True, kw_only=True)
class FAB(Attack):
    """Fast adaptive boundary attack, within a budget.

    A run costs an example at most `steps` + 1 forwards and `steps` backwards, or with `classes=0` as many
    backwards a step as there are wrong classes.

    Attributes:
        norm: the norm that is minimised, "linf", "l2" or "l1".
        eps: the budget, in [0, 1] pixel units.
        steps: steps onto the linearised boundary a run.
        classes: how many of the likeliest wrong classes are aimed at, a run each (FAB-T); 0 = whichever is
            nearest at each step.
        restarts: runs (for each class); from the second on, from a random point within half the budget.
        alpha_max: largest weight of the clean image.
        eta: how far beyond the linearised boundary a step goes.
        beta: what is left of a step beyond the boundary once it is pulled back.
        stop_at_hit: whether an example is left at the first point beyond the boundary that the budget allows. False
            takes the run that hits to its end, and gives the nearest such point, which is what the paper looks for.

    Example:
        >>> FAB(eps=8 / 255).label
        'fab-100 linf 8/255 9 classes'
    """

    pooled = True
    norm: str = "linf"
    eps: float = 8 / 255
    steps: int = 100
    classes: int = 9
    restarts: int = 1
    alpha_max: float = 0.1
    eta: float = 1.05
    beta: float = 0.9
    stop_at_hit: bool = True

    def __post_init__(self) -> None:
        lookup(BALLS, self.norm, "norm")
        check_eps(self.eps, self.norm)
        check_counts(self, "steps", "restarts")
        check_counts(self, "classes", least=0)
        check_rate(alpha_max=self.alpha_max, beta=self.beta)
        check_positive(eta=self.eta)

    @property
    def label(self) -> str:
        extra = [f"{self.classes} classes"] * bool(self.classes)
        return " ".join([f"fab-{self.steps}", self.budget, *extra, *TO_THE_END[self.stop_at_hit]])

    @property
    def passes(self) -> int:
        """For a model of ten classes."""
        backwards = 1 if self.classes else 9
        return (self.steps * (1 + backwards) + 1) * self.restarts * max(self.classes, 1) + bool(self.classes)

    __call__ = call_pooled

    def search(self, asked: Asked, inputs: Float[Tensor, "n c h w"], goal: Goal, rng: Rng) -> Found:
        found = Found.nothing(inputs)
        nearest = torch.full((len(inputs),), torch.inf).to(inputs)
        aims = goals(asked, inputs, goal, self.classes)
        for restart in range(self.restarts):
            for rank, aimed in enumerate(aims):
                rows = found.standing
                if len(rows):
                    keyed = rng.select(rows.cpu().numpy()).fold(rank, restart)
                    start = self._start(inputs[rows], keyed, random=restart > 0)
                    self._run(asked, inputs, start, aimed, found, nearest, rows)
        return found

    def _start(self, clean: Tensor, rng: Rng, *, random: bool) -> Tensor:
        if not random:
            return clean
        noise = BALLS[self.norm].sample(rng.fold("start"), tuple(clean.shape[1:]), self.eps / 2)
        return (clean + noise.to(clean)).clamp(0, 1)

    def _run(
        self, asked: Asked, inputs: Tensor, x: Tensor, goal: Goal, found: Found, nearest: Tensor, rows: Tensor
    ) -> None:
        """One run of the examples at `rows` from `x`. The nearest point beyond the boundary is kept, `nearest` is its
        distance; where that is beyond the budget the point is cut to it, as the strongest try."""
        ball, radius = BALLS[self.norm], safe_radius(self.eps, self.norm, inputs)
        for step in range(self.steps + 1):
            clean, task = inputs[rows], goal[rows]
            distance = ball.norm(x - clean)
            within = distance <= self.eps
            if step < self.steps:
                answer = asked.ascent(x, task, self._gain, within & self.stop_at_hit)
                reached, gain, gradient = answer.reached, answer.gain, answer.gradient
            else:
                reached, gain = asked.gain(x, task, self._gain)
                gradient = None
            closer = reached & (distance < nearest[rows])
            nearest[rows[closer]] = distance[closer]
            tries = (clean + ball.project(x - clean, radius)).clamp_(0, 1)
            found.images[rows[closer]] = tries[closer]
            found.take(rows[closer & within], x[closer & within])
            left = ~(reached & within & self.stop_at_hit)
            if gradient is None or not left.any():
                return
            rows, x, clean, reached, gain, gradient = (v[left] for v in (rows, x, clean, reached, gain, gradient))
            if step == 0:
                warn_masked(gradient, reached)
            x = self._step(x, clean, reached, gain.to(x), gradient)

    def _gain(self, logits: Tensor, goal: Goal) -> Tensor:
        """How far the boundary is crossed: wrong logits minus the right one, [n], or [n, k - 1] of all wrong ones.

        With targets, theirs minus the largest other.
        """
        if goal.targeted and goal.aims is not None:
            return -losses.margin(logits, goal.aims)
        right = logits.gather(1, goal.labels[:, None])
        if goal.aims is not None:
            return (logits.gather(1, goal.aims[:, None]) - right)[:, 0]
        columns = torch.arange(logits.shape[1], device=logits.device).expand_as(logits)
        wrong = columns[columns != goal.labels[:, None]].view(len(logits), -1)
        return logits.gather(1, wrong) - right

    def _step(self, x: Tensor, clean: Tensor, reached: Tensor, gain: Tensor, gradient: Tensor) -> Tensor:
        """The next point, from the plane gain + <gradient, z - x> = 0."""
        if gain.dim() == 2:
            size = gradient.flatten(2).norm(BALLS[self.norm].dual.order, dim=2).clamp(min=1e-12)
            pick = (gain.abs() / size).argmin(1)
            each = torch.arange(len(x), device=x.device)
            gain, gradient = gain[each, pick], gradient[each, pick]
        back = torch.where(reached.view(-1, 1, 1, 1), clean + self.beta * (x - clean), x)
        points, slopes = torch.cat([back, clean]), torch.cat([gradient, gradient])
        gaps = torch.cat([gain + _inner(gradient, back - x), gain + _inner(gradient, clean - x)])
        steps = onto_plane(points, slopes, gaps, self.norm)
        near, far = BALLS[self.norm].norm(steps).clamp(min=1e-8).chunk(2)
        weight = (near / (near + far)).clamp(max=self.alpha_max).view(-1, 1, 1, 1)
        here, there = (points + self.eta * steps).chunk(2)
        return ((1 - weight) * here + weight * there).clamp_(0, 1)


def onto_plane(
    points: Float[Tensor, "n c h w"], slopes: Float[Tensor, "n c h w"], gaps: Float[Tensor, " n"], norm: str
) -> Float[Tensor, "n c h w"]:
    """The smallest steps d with gap + <slope, d> = 0 that keep the points in [0, 1]; as far as they get if none does.

    linf and l2 move the values by t |slope|^(q - 1) (q the dual order: 1 and 2) until each meets the box. How much of
    the gap t closes is concave and piecewise linear in t, so Newton's method from the left ends at the exact t.
    l1 moves one value after the other as far as the box allows, the steepest first (Section 3.1).
    """
    weight, gap = slopes.flatten(1).abs(), gaps.abs()[:, None]
    direction = -slopes.flatten(1).sign() * gaps.sign()[:, None]
    flat = points.flatten(1)
    room = torch.where(direction > 0, 1 - flat, flat)
    if norm == "l1":
        weight, order = weight.sort(dim=1, descending=True)
        closed = weight * room.gather(1, order)
        left = gap - (closed.cumsum(1) - closed)
        ordered = (left / weight.clamp(min=1e-12)).clamp(min=0).minimum(room.gather(1, order))
        size = torch.zeros_like(room).scatter_(1, order, ordered)
    else:
        speed = weight if norm == "l2" else torch.ones_like(weight)
        rate = weight * speed
        scale = gap / rate.sum(1, keepdim=True).clamp(min=1e-30)
        for _ in range(weight.shape[1]):
            free = scale * speed < room
            closed = (weight * room).masked_fill(free, 0).sum(1, keepdim=True)
            next_scale = (gap - closed) / (rate * free).sum(1, keepdim=True).clamp(min=1e-30)
            grown = next_scale > scale * (1 + 1e-6)
            if not grown.any():
                break
            scale = torch.where(grown, next_scale, scale)
        size = (scale * speed).minimum(room)
    return (direction * size).view_as(points)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)
