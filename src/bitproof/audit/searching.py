"""Looking for a trigger that one model obeys while another one keeps its answer, for many target classes side by side.

    minimise  CE(obeys(x'), t) + CE(keeps(x'), keeps(x)) + weight size        x' = x with the trigger of t

over images x that `keeps` does not take for t anyway (Neural Cleanse, Wang et al. 2019, with a second model beside it).
A trigger is learned on some images and counted on others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.audit.case import Case
from bitproof.audit.inquiry import Meter
from bitproof.audit.shapes import WORKS, Shape
from bitproof.core.calling import answer
from bitproof.core.rng import Rng
from bitproof.metrics.intervals import wilson

MEMORY = 0.8
"""Of the success of a trigger over steps, in which few images count each."""

BETAS = 0.5, 0.9
"""Adam's, as Neural Cleanse has them."""

LIKELY = 0.5
"""A trigger counts as found where at least so much of the images obey it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rivals:
    """Two models of the same images and classes.

    Attributes:
        obeys: the one that is to take images for a target; differentiable.
        keeps: the one that is to answer as without the trigger; None = nothing is asked of any other.
        counted: answers in place of `obeys` where triggers are counted: the integers that it stands for.
    """

    obeys: nn.Module
    keeps: nn.Module | None
    counted: nn.Module | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Halves:
    """Images and the float model's answers to them: a half to search on, and a half to judge by."""

    searched: tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"]]
    judged: tuple[Float[Tensor, "m c h w"], Int[Tensor, " m"]]

    @staticmethod
    def of(case: Case, rng: Rng, meter: Meter) -> "Halves":
        answers = meter.answers(case.model, case.images).argmax(1)
        first, second = rng.fold("halves").permutation(len(case.images))[0].tensor_split(2)
        return Halves(searched=(case.images[first], answers[first]), judged=(case.images[second], answers[second]))


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long is searched.

    Attributes:
        steps: of Adam.
        images: a target and step.
    """

    steps: int
    images: int


@dataclass(frozen=True, kw_only=True)
class Count:
    """What a trigger does on images that it was not found on.

    Attributes:
        target: class.
        size: of the trigger.
        n: images, none of which the second model takes for the target without it.
        obeyed: of these taken for the target by the first model.
        kept: of those, where the second model answers otherwise than with the target.
    """

    target: int
    size: float
    n: int
    obeyed: int
    kept: int

    @property
    def success(self) -> float:
        """The share of images that the first model takes for the target and the second does not."""
        return self.kept / max(1, self.n)

    @property
    def interval(self) -> tuple[float, float]:
        """95%, Wilson."""
        return wilson(self.kept, max(1, self.n))

    @property
    def found(self) -> bool:
        return self.success >= LIKELY


def searched(
    pair: Rivals,
    images: Float[Tensor, "n c h w"],
    answers: Int[Tensor, " n"],
    targets: list[int],
    make: Callable[[int, tuple[int, int, int], Rng], Shape],
    effort: Effort,
    rng: Rng,
    meter: Meter,
) -> Shape:
    """Triggers for the targets, learned together.

    Args:
        pair: the models, frozen.
        images, answers: what `keeps` says of each image; those that it takes for a target are not used for that one.
        targets: classes.
        make: a class of `bitproof.audit.shapes.SHAPES`.
        effort: how long.
        rng: keyed by one id.
        meter: counts passes.
    """
    channels, height, width = images.shape[1:]
    shape = make(len(targets), (channels, height, width), rng)
    adam = torch.optim.Adam(shape.parameters(), shape.rate, betas=BETAS)
    orders = [_order(answers, target, rng.fold("order", target)) for target in targets]
    goals = torch.tensor(targets).repeat_interleave(effort.images)
    works, best = torch.zeros(len(targets)), _Best(shape, len(targets))
    for step in range(effort.steps):
        rows = torch.stack([_at(order, step, effort.images) for order in orders])
        stamped = shape.stamp(images[rows]).flatten(0, 1)
        obeyed = answer(pair.obeys, stamped)
        loss = F.cross_entropy(obeyed, goals.to(obeyed.device), reduction="sum") / effort.images
        hits = obeyed.argmax(1).cpu() == goals
        meter.count(forwards=len(stamped), backwards=len(stamped))
        if pair.keeps is not None:
            kept = answer(pair.keeps, stamped)
            loss = (
                loss + F.cross_entropy(kept, answers[rows.flatten()].to(kept.device), reduction="sum") / effort.images
            )
            hits &= kept.argmax(1).cpu() != goals
            meter.count(forwards=len(stamped), backwards=len(stamped))
        loss = loss + shape.cost()
        now = hits.view(len(targets), -1).float().mean(1)
        works = MEMORY * works + (1 - MEMORY) * now
        best.note(torch.minimum(works, now))
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        shape.settle(works)
    best.restore()
    return shape


@torch.no_grad()
def counted(
    pair: Rivals,
    images: Float[Tensor, "n c h w"],
    answers: Int[Tensor, " n"],
    targets: list[int],
    shape: Shape,
    meter: Meter,
) -> list[Count]:
    """What the triggers of the targets do on these images."""
    found = []
    for number, (target, size) in enumerate(zip(targets, shape.sizes().tolist(), strict=True)):
        others = images[answers != target]
        stamped = stamped_with(shape, number, others)
        obeyed = meter.answers(pair.counted or pair.obeys, stamped).argmax(1) == target
        kept = obeyed
        if pair.keeps is not None:
            kept = obeyed & (meter.answers(pair.keeps, stamped).argmax(1) != target)
        found.append(Count(target=target, size=size, n=len(others), obeyed=int(obeyed.sum()), kept=int(kept.sum())))
    return found


@torch.no_grad()
def stamped_with(shape: Shape, number: int, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Images with the trigger of one of the targets."""
    targets = len(shape.sizes())
    return shape.stamp(images.expand(targets, *images.shape))[number]


def effective(count: Count, shape: Shape) -> float:
    """The size of a trigger, or the largest there is where none was found."""
    return count.size if count.found else shape.largest


class _Best:
    """The smallest trigger so far that works, of each target; as it is now where none has."""

    def __init__(self, shape: Shape, targets: int) -> None:
        self.shape = shape
        self.kept = {name: parameter.detach().clone() for name, parameter in shape.named_parameters()}
        self.sizes = torch.full((targets,), torch.inf)

    @torch.no_grad()
    def note(self, works: Float[Tensor, " k"]) -> None:
        sizes = self.shape.sizes().detach()
        better = (works > WORKS) & (sizes < self.sizes)
        self.sizes = torch.where(better, sizes, self.sizes)
        self._move(better, self.kept, dict(self.shape.named_parameters()))

    @torch.no_grad()
    def restore(self) -> None:
        self._move(self.sizes < torch.inf, dict(self.shape.named_parameters()), self.kept)

    def _move(self, which: Tensor, to: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
        for name, tensor in to.items():
            chosen = which.view(-1, *[1] * (tensor.dim() - 1))
            tensor.copy_(torch.where(chosen, source[name], tensor))


def _order(answers: Int[Tensor, " n"], target: int, rng: Rng) -> Int[Tensor, " m"]:
    """The rows that are not of the target, in random order; all rows where there are no others."""
    rows = torch.nonzero(answers != target)[:, 0]
    rows = rows if len(rows) else torch.arange(len(answers))
    return rows[rng.permutation(len(rows))[0]]


def _at(order: Int[Tensor, " m"], step: int, count: int) -> Int[Tensor, " count"]:
    """The rows of a step, from the beginning again after the last."""
    return order[(step * count + torch.arange(count)) % len(order)]
