"""How APGD walks under each norm: where it starts, how it steps, and what it changes at its checkpoints.

Sources: linf and l2, Croce & Hein 2020 (arXiv 2003.01690, Algorithm 1); l1, Croce & Hein 2021
(arXiv 2103.01208, Algorithm 1: steps as sparse as the best point found so far, exact projections).
"""

import abc
import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bitproof.core.balls import BALLS, Ball, project_l1_in_box
from bitproof.core.rng import Rng


@dataclass
class Run:
    """One climb, a row an example.

    Attributes:
        clean: the images it started from.
        x, previous: the current point and the one before.
        gain, gradient: at the current point.
        best, best_gain, best_gradient: at the best point so far.
        step: length of a step, as a multiple of the radius.
        rises: how often the gain rose since the last checkpoint.
        checked: best gain at the last checkpoint.
        halved: whether the step was halved there.
        share: part of the values that a step moves (l1).
        moved: values that the best point moved at the last checkpoint (l1).
    """

    clean: Tensor
    x: Tensor
    previous: Tensor
    gain: Tensor
    gradient: Tensor
    best: Tensor
    best_gain: Tensor
    best_gradient: Tensor
    step: Tensor
    rises: Tensor
    checked: Tensor
    halved: Tensor
    share: Tensor
    moved: Tensor

    @staticmethod
    def at(clean: Float[Tensor, "n c h w"], x: Float[Tensor, "n c h w"], step: float) -> "Run":
        """A run that is about to look at `x`, with steps of so many radii."""
        moved = count_moved(x, clean)
        low = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
        return Run(
            clean=clean,
            x=x,
            previous=x,
            gain=low,
            gradient=torch.zeros_like(x),
            best=x.clone(),
            best_gain=low.clone(),
            best_gradient=torch.zeros_like(x),
            step=torch.full_like(low, step).to(x),
            rises=torch.zeros_like(low),
            checked=low.clone(),
            halved=torch.zeros_like(low, dtype=torch.bool),
            share=moved / (1.5 * clean[0].numel()),
            moved=moved,
        )

    def keep(self, rows: Bool[Tensor, " n"]) -> None:
        """Let the other examples go."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[rows])

    def look(self, gain: Float[Tensor, " n"], gradient: Float[Tensor, "n c h w"]) -> None:
        """Take in what the model said at the current point."""
        self.rises += (gain > self.gain) & self.gain.isfinite()
        self.gain, self.gradient = gain, gradient
        better = gain > self.best_gain
        self.best[better], self.best_gain[better] = self.x[better], gain[better]
        self.best_gradient[better] = gradient[better]

    def restart(self, rows: Bool[Tensor, " n"]) -> None:
        """Go on from the best point."""
        self.x[rows], self.gradient[rows] = self.best[rows], self.best_gradient[rows]


def count_moved(x: Float[Tensor, "n c h w"], clean: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """How many values of each image changed."""
    return (x != clean).flatten(1).sum(1).to(x)


class Rule(abc.ABC):
    """What APGD does differently from norm to norm."""

    @abc.abstractmethod
    def phases(self, steps: int) -> list[tuple[int, float]]:
        """(steps, radius as a multiple of eps), one after the other."""

    @abc.abstractmethod
    def start(self, clean: Float[Tensor, "n c h w"], radius: float, rng: Rng) -> Float[Tensor, "n c h w"]:
        """A random point on the sphere, cut to the box."""

    @abc.abstractmethod
    def run(self, clean: Float[Tensor, "n c h w"], x: Float[Tensor, "n c h w"], radius: float) -> Run:
        """A run from `x`, brought inside the radius."""

    @abc.abstractmethod
    def advance(self, run: Run, radius: float, first: bool) -> Float[Tensor, "n c h w"]:
        """The next point."""

    @abc.abstractmethod
    def checkpoints(self, steps: int) -> set[int]:
        """After which steps `adapt` is called."""

    @abc.abstractmethod
    def adapt(self, run: Run, since: int) -> None:
        """Change the step, and go back to the best point, where the last `since` steps were in vain."""


@dataclass(frozen=True)
class Halving(Rule):
    """linf and l2: momentum, and a step of two radii that is halved where the gain stalls.

    Attributes:
        ball: the norm.
        rho: share of the steps since the last checkpoint that have to raise the gain.
        momentum: weight of the step against the one before.
    """

    ball: Ball
    rho: float
    momentum: float = 0.75

    def phases(self, steps: int) -> list[tuple[int, float]]:
        return [(steps, 1.0)]

    def start(self, clean: Float[Tensor, "n c h w"], radius: float, rng: Rng) -> Float[Tensor, "n c h w"]:
        noise = self.ball.direction(rng, tuple(clean.shape[1:]))
        size = self.ball.norm(noise).view(-1, 1, 1, 1)
        return (clean + (radius * noise / size).to(clean)).clamp(0, 1)

    def run(self, clean: Float[Tensor, "n c h w"], x: Float[Tensor, "n c h w"], radius: float) -> Run:
        return Run.at(clean, x, 2.0)

    def advance(self, run: Run, radius: float, first: bool) -> Float[Tensor, "n c h w"]:
        length = (radius * run.step).view(-1, 1, 1, 1)
        step = self._inside(run.x + length * self.ball.steepest(run.gradient), run.clean, radius) - run.x
        weight = 1.0 if first else self.momentum
        return self._inside(run.x + weight * step + (1 - weight) * (run.x - run.previous), run.clean, radius)

    def _inside(self, x: Tensor, clean: Tensor, radius: float) -> Tensor:
        return (clean + self.ball.project(x - clean, radius)).clamp_(0, 1)

    def checkpoints(self, steps: int) -> set[int]:
        """After 22% of the steps, then at distances that shrink by 3% to no less than 6%."""
        ends, before, now = set[int](), 0.0, 0.22
        while now < 1:
            ends.add(math.ceil(round(now * steps, 6)))
            before, now = now, now + max(now - before - 0.03, 0.06)
        return ends

    def adapt(self, run: Run, since: int) -> None:
        stalled = (run.rises < self.rho * since) | (~run.halved & (run.best_gain <= run.checked))
        run.step = torch.where(stalled, run.step / 2, run.step)
        run.restart(stalled)
        run.checked, run.halved, run.rises = run.best_gain.clone(), stalled, torch.zeros_like(run.rises)


@dataclass(frozen=True)
class Sparsity(Rule):
    """l1: no momentum; a step moves only the steepest values, two thirds as many as the best point moved.

    It comes in from three times the radius. At a checkpoint, where the best point became sparser (by 5%) the
    step is a full radius again, elsewhere it shrinks by 1.5, to no less than a tenth of the radius.
    """

    def phases(self, steps: int) -> list[tuple[int, float]]:
        part = int(0.3 * steps)
        return [(n, factor) for n, factor in ((part, 3.0), (part, 2.0), (steps - 2 * part, 1.0)) if n]

    def start(self, clean: Float[Tensor, "n c h w"], radius: float, rng: Rng) -> Float[Tensor, "n c h w"]:
        return clean + BALLS["l1"].direction(rng, tuple(clean.shape[1:])).to(clean)

    def run(self, clean: Float[Tensor, "n c h w"], x: Float[Tensor, "n c h w"], radius: float) -> Run:
        return Run.at(clean, self._inside(x, clean, radius), 1.0)

    def advance(self, run: Run, radius: float, first: bool) -> Float[Tensor, "n c h w"]:
        flat = run.gradient.flatten(1)
        size = flat.abs()
        rank = ((1 - run.share) * flat.shape[1]).long().clamp(0, flat.shape[1] - 1)
        least = size.sort(dim=1).values.gather(1, rank[:, None])
        sign = torch.where(size >= least, flat.sign(), 0)
        length = radius * run.step[:, None] / sign.abs().sum(1, keepdim=True).clamp(min=1)
        return self._inside(run.x + (length * sign).view_as(run.x), run.clean, radius)

    def _inside(self, x: Tensor, clean: Tensor, radius: float) -> Tensor:
        return (clean + project_l1_in_box(x - clean, clean, radius)).clamp_(0, 1)

    def checkpoints(self, steps: int) -> set[int]:
        every = max(int(0.04 * steps), 1)
        return set(range(every, steps + 1, every))

    def adapt(self, run: Run, since: int) -> None:
        moved = count_moved(run.best, run.clean)
        sparser = moved < 0.95 * run.moved
        run.share = moved / (1.5 * run.clean[0].numel())
        run.step = torch.where(sparser, 1.0, (run.step / 1.5).clamp(min=0.1))
        run.moved = moved
        run.restart(sparser)
