"""Square attack: random search with square-shaped changes, which only asks the model for its answers.

A try is kept if it lowers the margin. Under linf it sets a square to +-eps in each channel. Under l2 and l1 it moves
the budget that one square holds, with what is still unspent, into another: a bump beside its negative, added to what
lies there. The side of the squares shrinks as the queries go on.

Source: Andriushchenko et al. 2020 (arXiv 1912.00049); l1 as in AutoAttack (arXiv 2103.01208, Section 5).
Every example has its own squares. A try that changes nothing is not asked, so it costs no query.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.attacks.base import TO_THE_END, Attack
from bitproof.attacks.checks import check_counts
from bitproof.attacks.goal import Goal
from bitproof.attacks.pool import Asked, Found, call_pooled, safe_radius
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.rng import Rng
from bitproof.errors import InputError, lookup

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""After which of `PLANNED` queries the squares' share of the image halves (Section 5)."""
PLANNED = 10_000

BLOCK = 250
"""Tries whose random numbers are drawn at once."""


@dataclass(frozen=True, kw_only=True)
class Square(Attack):
    """Random search by squares of colour. Needs answers only.

    An example costs at most `queries` forwards.

    Attributes:
        norm: the ball, "linf", "l2" or "l1".
        eps: its radius, in [0, 1] pixel units.
        queries: the budget.
        p_init: share of the image that the first squares cover.
        planned: queries over which the squares shrink as in 10,000 of the paper's; None = `queries`. AutoAttack has
            10,000 whatever its budget.
        stop_at_hit: whether an example is left at its first hit. False spends all queries, and gives the image that is
            furthest beyond the boundary.

    Example:
        >>> Square(eps=8 / 255, queries=1000).label
        'square-1000 linf 8/255'
    """

    asks_only = True
    pooled = True
    norm: str = "linf"
    eps: float = 8 / 255
    queries: int = 5000
    p_init: float = 0.8
    planned: int | None = None
    stop_at_hit: bool = True

    def __post_init__(self) -> None:
        lookup(BALLS, self.norm, "norm")
        check_eps(self.eps, self.norm)
        check_counts(self, "queries")
        if self.planned is not None:
            check_counts(self, "planned")
        if not 0 < self.p_init <= 1:
            raise InputError(
                f"p_init is {self.p_init}", rule="it is a share of the image, above 0, at most 1", remedy="Use 0.8"
            )

    @property
    def label(self) -> str:
        return " ".join([f"square-{self.queries} {self.budget}", *TO_THE_END[self.stop_at_hit]])

    @property
    def passes(self) -> int:
        return self.queries

    __call__ = call_pooled

    def search(self, asked: Asked, inputs: Float[Tensor, "n c h w"], goal: Goal, rng: Rng) -> Found:
        found = Found.nothing(inputs)
        rows = torch.arange(len(inputs), device=inputs.device)
        radius = safe_radius(self.eps, self.norm, inputs)
        clean, best = inputs, self._start(inputs, radius, rng.fold("start"))
        reached, gain = asked.gain(best, goal, _gain)
        draws = inputs.new_empty(len(inputs), 0)
        for query in range(1, self.queries + 1):
            done = reached & self.stop_at_hit
            if done.any():
                found.take(rows[done], best[done])
                rows, clean, best, gain, draws = (v[~done] for v in (rows, clean, best, gain, draws))
            if query == self.queries or not len(rows):
                break
            block, turn = divmod(query - 1, BLOCK)
            if turn == 0:
                keyed = rng.select(rows.cpu().numpy()).fold("tries", block)
                draws = keyed.uniform((BLOCK, 5 + inputs.shape[1])).to(inputs)
            new = self._try(clean, best, radius, query, draws[:, turn])
            changed = (new != best).flatten(1).any(1)
            reached = torch.zeros_like(changed)
            if changed.any():
                reached[changed], raised = asked.gain(new[changed], goal[rows[changed]], _gain)
                better = changed.clone()
                better[changed] = raised > gain[changed]
                gain[changed] = gain[changed].maximum(raised)
                best = torch.where((better | reached & self.stop_at_hit).view(-1, 1, 1, 1), new, best)
        found.images[rows] = best
        found.broken[rows] = gain > 0
        return found

    def _start(self, clean: Tensor, radius: float, rng: Rng) -> Tensor:
        """linf: vertical stripes of +-eps; l2, l1: tiles of bumps, five by five."""
        n, c, h, w = clean.shape
        if self.norm == "linf":
            return (clean + radius * _signs(rng.uniform((c, 1, w)).to(clean))).clamp(0, 1)
        side = max(min(h, w) // 5, 1)
        down, across = h // side, w // side
        draws = rng.uniform((down, across, 1 + c)).to(clean)
        tiles = _bumps(side, draws[..., 0].flatten()).view(n, down, across, 1, side, side)
        tiles = tiles * _signs(draws[..., 1:])[..., None, None]
        delta = torch.zeros_like(clean)
        top, left = (h - down * side) // 2, (w - across * side) // 2
        inside = delta[:, :, top : top + down * side, left : left + across * side]
        inside.copy_(tiles.permute(0, 3, 1, 4, 2, 5).reshape(inside.shape))
        return self._filled(clean, delta, radius)

    def _try(self, clean: Tensor, best: Tensor, radius: float, query: int, draws: Tensor) -> Tensor:
        """The next candidates: `draws` are uniform numbers, a row an example."""
        c, h, w = clean.shape[1:]
        side = self._side(query, h, w)
        first, second = (_window(draws[:, i : i + 2], c, h, w, side) for i in (0, 2))
        signs = _signs(draws[:, 5:])[:, :, None, None]
        if self.norm == "linf":
            new = best.clone()
            new[first] = (clean[first] + radius * signs).clamp(0, 1)
            return new
        delta, power = best - clean, BALLS[self.norm].order
        spent = _sums(delta.abs() ** power)
        emptied = delta.clone()
        emptied[first] = 0
        emptied[second] = 0
        kept = _sums(emptied.abs() ** power)
        unspent = (radius**power - spent.sum(1, keepdim=True)).clamp(min=0) / c
        there = delta[first] / _sums(delta[first].abs() ** power).pow(1 / power).clamp(min=1e-12)
        change = _bumps(side, draws[:, 4])[:, None] * signs + there
        size = _sums(change.abs() ** power).pow(1 / power).clamp(min=1e-12)
        emptied[first] = change / size * (unspent + spent - kept).clamp(min=0).pow(1 / power)
        return self._filled(clean, emptied, radius)

    def _side(self, query: int, h: int, w: int) -> int:
        """Of the squares at this query; bumps need at least 3 and an odd number."""
        done = query * PLANNED // (self.planned or self.queries)
        side = round(math.sqrt(self.p_init / 2 ** sum(done > limit for limit in HALVINGS) * h * w))
        side = max(side, 1) if self.norm == "linf" else max(side, 3) | 1
        return min(side, h, w)

    def _filled(self, clean: Tensor, delta: Tensor, radius: float) -> Tensor:
        """The change scaled to the whole budget, cut to the box."""
        size = BALLS[self.norm].norm(delta).clamp(min=1e-12).view(-1, 1, 1, 1)
        return (clean + delta / size * radius).clamp(0, 1)


def _gain(logits: Tensor, goal: Goal) -> Tensor:
    return goal.gain(logits)


def _signs(draws: Tensor) -> Tensor:
    return torch.where(draws < 0.5, -1.0, 1.0).to(draws)


def _sums(values: Tensor) -> Tensor:
    """Of each channel."""
    return values.sum((2, 3), keepdim=True)


def _window(draws: Tensor, c: int, h: int, w: int, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The index of a square [n, c, side, side] in images [n, c, h, w], placed by two uniform numbers an example."""
    offsets = torch.arange(side, device=draws.device)
    top = (draws[:, :1] * (h - side + 1)).long() + offsets
    left = (draws[:, 1:] * (w - side + 1)).long() + offsets
    each = torch.arange(len(draws), device=draws.device).view(-1, 1, 1, 1)
    channels = torch.arange(c, device=draws.device).view(1, -1, 1, 1)
    return each, channels, top[:, None, :, None], left[:, None, None, :]


def _bumps(side: int, draws: Tensor) -> Tensor:
    """A bump beside its negative for every draw, [n, side, side]: one above the other or, half of the time, abreast."""
    half = side // 2
    bump = torch.cat([_bump(half, side), -_bump(side - half, side)]).to(draws)
    bump = bump / bump.norm()
    return torch.where((draws < 0.5).view(-1, 1, 1), bump, bump.T)


def _bump(h: int, w: int) -> Tensor:
    """Highest in the middle: sum over k >= distance (in the maximum norm) of 1 / (k + 1)^2."""
    distance = torch.maximum((torch.arange(h) - h // 2).abs()[:, None], (torch.arange(w) - w // 2).abs())
    rings = torch.arange(1, max(h, w) // 2 + 2).float() ** -2
    return rings.flip(0).cumsum(0).flip(0)[distance]
