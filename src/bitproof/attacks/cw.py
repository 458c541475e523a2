"""Carlini & Wagner's l2 attack: the smallest change that is misclassified with a given confidence.

    minimise |x - x_0|^2 + c max(kappa - margin(x), 0)  over w,  x = (tanh(w) + 1) / 2

by Adam, with a search over c for every example.

Source: Carlini & Wagner 2017 (arXiv 1608.04644), Sections V and VI.A. Things are added that bring 100 iterations
nearer to the optimum: the first c is taken from the slope of the margin at the clean image; the rate falls to 1%
within each search; once an image is found, each search goes on from the nearest one, and at a lower first rate; and
an example is done once its bounds on c are close. Bernhard et al. 2019 (1909.12741), Table 14, used
`CW(learning_rate=0.1, initial_constant=0.9)`, which ends further away on ResNet20.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bitproof.attacks.base import Attack, Classes, Images
from bitproof.attacks.checks import check_counts, check_kappa, check_positive, warn_masked
from bitproof.attacks.constants import Constants
from bitproof.attacks.goal import Goal, input_gradient
from bitproof.attacks.nearest import Nearest
from bitproof.core.adam import adam
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.calling import Model
from bitproof.core.rng import Rng

TINY = 1e-12
SHRINK = 0.99
"""How much of the way from grey to black and white an image keeps, so that values at 0 and 1 can move."""
LOOKS, PLATEAU = 5, 0.92
"""Looks at a search's objective; the search ends at the first that finds it no lower than this part of the last one.
Ten looks, and 0.99, took the noise of coarse models for an end: the median on BinaryNet was 63% further away."""
END = 0.01
"""What remains of a learning rate at the end."""
RATE, MOST = 0.01, 3.0
"""Carlini and Wagner's own rate, and the most of it in terms of the distance that a linear model sees."""
SHARE, STRIDE = 0.5, 3.0
"""Of the constant that would do for a linear model, what is tried first, and by how much it grows or shrinks. Small
steps from below: a constant that is too large drives the image beyond where a smaller one could bring it back from."""
LEAST = 1 / 255
"""Distance that the first constant reckons with where the linear model sees a smaller one."""


@dataclass(frozen=True, kw_only=True)
class CW(Attack):
    """Carlini and Wagner's minimum-norm attack under l2, with confidence kappa.

    An example leaves the batch once its objective no longer falls, and enters it again with the next constant.

    Attributes:
        steps: iterations of Adam for each constant.
        learning_rate: Adam's first rate, on w; None = by a linear model with the image's margin and slope: 0.01, but
            no more than three times the way to its boundary, and no less than takes it there in a tenth of the steps.
        initial_constant: first c; None = half of what that linear model needs.
        search_steps: constants tried for each example.
        kappa: margin of the logits that counts as success; larger ones transfer better.
        eps: l2 distance that counts as success; infinite = any.

    Example:
        >>> CW(kappa=5).label
        'cw-100x10 l2 kappa 5'
    """

    norm = "l2"
    steps: int = 100
    learning_rate: float | None = None
    initial_constant: float | None = None
    search_steps: int = 10
    kappa: float = 0.0
    eps: float = math.inf

    def __post_init__(self) -> None:
        check_counts(self, "steps", "search_steps")
        given = {"learning_rate": self.learning_rate, "initial_constant": self.initial_constant}
        check_positive(**{name: value for name, value in given.items() if value is not None})
        check_eps(self.eps, self.norm, endless=True)
        check_kappa(self.kappa)

    @property
    def label(self) -> str:
        name = f"cw-{self.steps}x{self.search_steps} {self.budget}"
        return name + f" kappa {self.kappa:g}" * (self.kappa > 0)

    @property
    def passes(self) -> int:
        return 2 * self.steps * self.search_steps + 2

    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        goal, nearest = self.goal(model, inputs, labels, targets), Nearest.none_yet(inputs, self.norm)
        constants, rate = self._first(model, goal, inputs)
        rows = torch.arange(len(rate), device=rate.device)
        tried, state = torch.zeros_like(rows), _State.at(inputs)
        every = max(1, self.steps // LOOKS)
        while len(rows):
            clean, c = inputs[rows], constants.now
            tanh = state.w.tanh()
            x = ((tanh + 1) / 2).requires_grad_()
            logits = goal.answers(model, x)
            gain = goal.gain(logits)
            excess = (self.kappa - gain).clamp(min=0)
            gradient = input_gradient((c * excess).sum(), x)
            with torch.no_grad():
                hit = goal.reached(logits) & (gain >= self.kappa)
                if not (tried.any() or state.age.any()):
                    warn_masked(gradient, hit)
                nearest.offer(x, hit, rows)
                delta = x - clean
                objective = delta.square().sum((1, 2, 3)) + c * excess
                falling = 1 - (1 - END) * (state.age + 1) / self.steps
                state.step((gradient + 2 * delta) * (1 - tanh.square()) / 2, falling * rate)
                state.found |= hit
                state.lowest = torch.minimum(state.lowest, objective)
                stuck = (state.age % every == 0) & (state.lowest >= PLATEAU * state.before)
                state.before = torch.where(state.age % every == 0, state.lowest, state.before)
                ended = stuck | (state.age == self.steps)
                if not ended.any():
                    continue
                constants = constants.where(ended, constants.narrow(state.found))
                slower = torch.where(nearest.found[rows], rate * END ** (1 / self.search_steps), self._further(rate))
                rate = torch.where(ended, slower, rate)
                tried += ended
                state = state.where(ended, _State.at(nearest.images[rows]))
                left = ~ended | ((tried < self.search_steps) & constants.open)
                state, constants, goal = state[left], constants[left], goal[left]
                rows, rate, tried = rows[left], rate[left], tried[left]
        return nearest.within(self.eps)

    def _first(self, model: Model, goal: Goal, inputs: Float[Tensor, "n c h w"]) -> tuple[Constants, Tensor]:
        """The first constants and rates: as given, or those that suit a linear model of the margin at the image."""
        given = inputs.new_ones(len(inputs))
        if self.learning_rate is not None and self.initial_constant is not None:
            return Constants.start(self.initial_constant * given), self.learning_rate * given
        distance, slope = self._to_boundary(model, goal, inputs)
        if self.initial_constant is None:  # linear: the distance is c |slope| / 2
            constants = Constants.start(SHARE * 2 * distance / slope, STRIDE)
        else:
            constants = Constants.start(self.initial_constant * given)
        if self.learning_rate is not None:
            return constants, self.learning_rate * given
        side = inputs[0].numel() ** 0.5
        far = (2 * inputs - 1).abs() * SHRINK
        near = (far - 2 * (distance / side).view(-1, 1, 1, 1)).clamp(min=-SHRINK)
        crossing = (far.atanh() - near.atanh()).mean((1, 2, 3))
        return constants, torch.maximum(crossing / (self.steps / 10), (MOST * crossing).clamp(max=RATE))

    def _to_boundary(self, model: Model, goal: Goal, inputs: Float[Tensor, "n c h w"]) -> tuple[Tensor, Tensor]:
        """How far off a linear model sees success, under l2, and the slope of its margin."""
        x = inputs.clone().requires_grad_()
        gain = goal.gain(goal.answers(model, x))
        slope = BALLS["l2"].norm(input_gradient(gain.sum(), x)).clamp(min=TINY)
        return ((self.kappa - gain.detach()) / slope).clamp(LEAST, inputs[0].numel() ** 0.5), slope

    def _further(self, rate: Tensor) -> Tensor:
        """The rates of images that took a larger constant than the linear model's, and so lie further off."""
        return rate if self.learning_rate is not None else torch.maximum(rate, (STRIDE * rate).clamp(max=RATE))


@dataclass
class _State:
    """Where the searches of some examples are: each has its own age, so that all of them share a batch."""

    w: Float[Tensor, "n c h w"]
    first: Float[Tensor, "n c h w"]
    second: Float[Tensor, "n c h w"]
    age: Int[Tensor, " n"]
    found: Bool[Tensor, " n"]
    lowest: Float[Tensor, " n"]
    before: Float[Tensor, " n"]

    @staticmethod
    def at(images: Float[Tensor, "n c h w"]) -> "_State":
        """Searches that begin at `images`."""
        w = ((2 * images - 1) * SHRINK).atanh()
        none = w.new_full((len(w),), math.inf)
        age = torch.zeros(len(w), dtype=torch.long, device=w.device)
        return _State(w, torch.zeros_like(w), torch.zeros_like(w), age, age > 0, none, none)

    def step(self, gradient: Float[Tensor, "n c h w"], rate: Float[Tensor, " n"]) -> None:
        """One of Adam."""
        self.age = self.age + 1
        direction, self.first, self.second = adam(
            gradient, self.first, self.second, self.age.view(-1, 1, 1, 1), tiny=TINY
        )
        self.w = self.w - rate.view(-1, 1, 1, 1) * direction

    def where(self, mask: Bool[Tensor, " n"], other: "_State") -> "_State":
        """The other's searches where the mask holds."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _State(*(torch.where(mask.view(-1, *[1] * (a.dim() - 1)), b, a) for a, b in pairs))

    def __getitem__(self, rows: Bool[Tensor, " n"]) -> "_State":
        return _State(*(values[rows] for values in vars(self).values()))
