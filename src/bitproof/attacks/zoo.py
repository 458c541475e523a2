"""ZOO: Carlini & Wagner's l2 objective, minimised coordinate by coordinate from answers alone.

    g_i = [ f(x + h e_i) - f(x - h e_i) ] / 2h + 2 (x - x_0)_i,   Adam on the coordinates that were asked

Source: Chen et al. 2017 (arXiv 1708.03999), Algorithm 2 and Section 3.4 (importance sampling). The defaults are
those of Bernhard et al. 2019 (1909.12741), Table 15; 128 coordinates an iteration are those of the
authors' code. Here the box is kept by clipping, so values at 0 and 1 move as freely as others, and the constants are
searched as in `attacks.constants`: up and down tenfold, then by the geometric middle, until the bounds are within 1.5
times each other; the authors bisect by the arithmetic middle, a fixed number of times.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from bitproof.attacks.base import Attack, Classes, Images
from bitproof.attacks.checks import check_counts, check_kappa, check_positive
from bitproof.attacks.constants import Constants
from bitproof.attacks.goal import Goal, few_at_a_time
from bitproof.attacks.nearest import Nearest
from bitproof.core.adam import adam
from bitproof.core.balls import check_eps
from bitproof.core.calling import Model
from bitproof.core.rng import Rng


@dataclass(frozen=True, kw_only=True)
class ZOO(Attack):
    """CW by coordinate-wise finite differences. Needs answers only.

    All queries of an iteration, of all examples, go to the model in large batches.

    Attributes:
        steps: iterations for each constant; each asks 2 `coordinates` + 1 queries.
        coordinates: values of the image whose slope is estimated in an iteration.
        learning_rate: Adam's, in pixel units.
        initial_constant: first weight of the misclassification term.
        search_steps: most constants that are tried.
        kappa: margin of the logits that counts as success.
        h: displacement of a value for its slope, in pixel units. On models with few activation bits a small one
            meets flat steps only; use about 0.01 there.
        importance: draw values in proportion to how far their neighbourhood has moved, rather than alike.
        queries: most queries an example, over all constants; None = no limit.
        eps: l2 distance that counts as success; infinite = any.

    Example:
        >>> ZOO().label
        'zoo-100x10 l2'
    """

    norm = "l2"
    asks_only = True
    steps: int = 100
    coordinates: int = 128
    learning_rate: float = 0.1
    initial_constant: float = 0.9
    search_steps: int = 10
    kappa: float = 0.0
    h: float = 1e-3
    importance: bool = True
    queries: int | None = None
    eps: float = math.inf

    def __post_init__(self) -> None:
        check_counts(self, "steps", "coordinates", "search_steps")
        check_positive(learning_rate=self.learning_rate, initial_constant=self.initial_constant, h=self.h)
        check_eps(self.eps, self.norm, endless=True)
        check_kappa(self.kappa)
        if self.queries is not None:
            check_counts(self, "queries")

    @property
    def label(self) -> str:
        return f"zoo-{self.steps}x{self.search_steps} {self.budget}"

    @property
    def passes(self) -> int:
        return min(self.search_steps * self.steps * (2 * self.coordinates + 1), self.queries or 10**12)

    @torch.no_grad()
    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        goal, nearest = self.goal(model, inputs, labels, targets), Nearest.none_yet(inputs, self.norm)
        constants = Constants.start(torch.full_like(nearest.distances, self.initial_constant))
        left = self.queries or 10**12
        for search in range(self.search_steps):
            steps = min(self.steps, left // (2 * self.coordinates + 1))
            found = self._minimise(model, goal, nearest, constants.now, rng.fold("search", search), steps)
            left -= steps * (2 * self.coordinates + 1)
            constants = constants.narrow(found)
        return nearest.within(self.eps)

    def _minimise(self, model: Model, goal: Goal, nearest: Nearest, c: Tensor, rng: Rng, steps: int) -> Tensor:
        clean = nearest.inputs
        x = clean.clone()
        found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        first, second, age = (torch.zeros_like(x).flatten(1) for _ in range(3))
        for t in range(steps):
            gain = goal.gains(model, x[:, None])[:, 0]
            hit = gain > self.kappa
            nearest.offer(x, hit)
            found |= hit
            rows = self._choose(x - clean, rng.fold("coordinates", t))
            slopes = self._slopes(model, goal, x, rows)
            gradient = 2 * (x - clean).flatten(1).gather(1, rows)
            gradient -= torch.where(gain > self.kappa, 0, c)[:, None] * slopes
            ages = age.gather(1, rows) + 1
            step, *moments = adam(gradient, first.gather(1, rows), second.gather(1, rows), ages)
            for state, new in zip((age, first, second), (ages, *moments), strict=True):
                state.scatter_(1, rows, new)
            x = x.flatten(1).scatter_add(1, rows, -self.learning_rate * step).clamp_(0, 1).view_as(x)
        return found

    def _choose(self, moved: Tensor, rng: Rng) -> Int[Tensor, "n p"]:
        """Different values of each image, by Gumbel's trick in proportion to their neighbourhood's movement."""
        shape = tuple(moved.shape[1:])
        keys = -rng.exponential(shape).to(moved).clamp_(min=1e-30).log_()
        if self.importance:
            weight = F.max_pool2d(moved.abs(), 3, stride=1, padding=1)
            keys += (weight + 0.1 * weight.amax((1, 2, 3), keepdim=True) + 1e-6).log()
        return keys.flatten(1).topk(min(self.coordinates, keys[0].numel()), dim=1).indices

    def _slopes(self, model: Model, goal: Goal, x: Tensor, rows: Int[Tensor, "n p"]) -> Float[Tensor, "n p"]:
        """(f(x + h e_i) - f(x - h e_i)) / 2h for the chosen values i."""
        slopes = torch.zeros_like(rows, dtype=x.dtype)
        for part in few_at_a_time(len(x), rows.shape[1]):
            shift = torch.zeros(len(part), rows.shape[1], x[0].numel(), device=x.device, dtype=x.dtype)
            shift = shift.scatter_(2, rows[part, :, None], self.h).view(*shift.shape[:2], *x.shape[1:])
            here, at = goal[part], x[part][:, None]
            slopes[part] = (here.gains(model, at + shift) - here.gains(model, at - shift)) / (2 * self.h)
        return slopes
