"""lp balls: the sets of perturbations an attack may use.

A ball is an object with a few operations, so one attack serves every norm. They act on the flattened examples of a
batch and are exact:

    norm         size of each perturbation
    dual         the ball whose norm says how much a unit step can raise a linear function, given its gradient
    project      nearest point (in l2) of the ball of radius eps
    sample       uniform draw from the ball of radius eps
    direction    random direction, of any length
    steepest     unit step that raises a linear function most, given its gradient

Sources: l1 projection, Duchi et al. 2008 (sort and threshold); uniform lp sampling, Barthe et al. 2005;
sparse l1 step, Tramer & Boneh 2019 (SLIDE); l1 ball and box at once, Croce & Hein 2021 (arXiv 2103.01208).
"""

import abc
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.core.rng import Rng
from bitproof.errors import InputError, lookup


def _per_example(values: Float[Tensor, " n"], like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))


class Ball(abc.ABC):
    """The perturbations whose norm is at most eps.

    Attributes:
        order: p of the lp norm.
    """

    order: ClassVar[float]

    @property
    @abc.abstractmethod
    def dual(self) -> "Ball":
        """The ball of the dual norm: from a linear function's value to zero it is |value| / dual.norm(gradient)."""

    @abc.abstractmethod
    def norm(self, delta: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
        """The size of each perturbation, [n]."""

    @abc.abstractmethod
    def project(self, delta: Float[Tensor, "n ..."], eps: float) -> Float[Tensor, "n ..."]:
        """The nearest perturbation (in l2) of size at most `eps`."""

    @abc.abstractmethod
    def sample(self, rng: Rng, shape: tuple[int, ...], eps: float) -> Float[Tensor, "n ..."]:
        """One uniform draw an example from the ball of radius `eps`, [n, *shape], on the CPU."""

    @abc.abstractmethod
    def direction(self, rng: Rng, shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
        """One random direction an example, of any length and all values alike, [n, *shape], on the CPU."""

    @abc.abstractmethod
    def steepest(self, gradient: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """The step of size one with the largest inner product with `gradient` (zero where that is zero)."""

    @abc.abstractmethod
    def diameter(self, dimensions: float) -> float:
        """The largest distance between two images of so many values in [0, 1]; no eps beyond it makes sense."""

    @abc.abstractmethod
    def text(self, eps: float) -> str:
        """The radius for people: under linf in grey levels ("8/255"), else as it is ("0.5")."""


@dataclass(frozen=True)
class LinfBall(Ball):
    """Every value changes by at most eps."""

    order: ClassVar[float] = math.inf

    @property
    def dual(self) -> Ball:
        return L1Ball()

    def norm(self, delta: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
        return delta.flatten(1).abs().amax(1)

    def project(self, delta: Float[Tensor, "n ..."], eps: float) -> Float[Tensor, "n ..."]:
        return delta.clamp(-eps, eps)

    def sample(self, rng: Rng, shape: tuple[int, ...], eps: float) -> Float[Tensor, "n ..."]:
        return rng.uniform(shape).mul_(2 * eps).sub_(eps)

    def direction(self, rng: Rng, shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
        return 2 * rng.uniform(shape) - 1

    def steepest(self, gradient: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        return gradient.sign()

    def diameter(self, dimensions: float) -> float:
        return 1.0

    def text(self, eps: float) -> str:
        return f"{eps * 255:.4g}/255"


@dataclass(frozen=True)
class L2Ball(Ball):
    """The Euclidean length of the change is at most eps."""

    order: ClassVar[float] = 2

    @property
    def dual(self) -> Ball:
        return self

    def norm(self, delta: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
        return delta.flatten(1).norm(dim=1)

    def project(self, delta: Float[Tensor, "n ..."], eps: float) -> Float[Tensor, "n ..."]:
        size = self.norm(delta).clamp(min=torch.finfo(delta.dtype).tiny)
        return delta * _per_example((eps / size).clamp(max=1), delta)

    def sample(self, rng: Rng, shape: tuple[int, ...], eps: float) -> Float[Tensor, "n ..."]:
        direction = self.steepest(rng.fold("direction").normal(shape))
        radius = rng.fold("radius").uniform(()).pow(1 / direction[0].numel())
        return direction * _per_example(eps * radius, direction)

    def direction(self, rng: Rng, shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
        return rng.normal(shape)

    def steepest(self, gradient: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        scaled = gradient / _nonzero(gradient.flatten(1).abs().amax(1), gradient)
        return scaled / _nonzero(self.norm(scaled), gradient)

    def diameter(self, dimensions: float) -> float:
        return dimensions**0.5

    def text(self, eps: float) -> str:
        return f"{eps:.4g}"


@dataclass(frozen=True)
class L1Ball(Ball):
    """The absolute changes of all values sum to at most eps.

    Attributes:
        share: part of the values that a step moves, the steepest ones with equal weight. The exact
            steepest step moves a single value (share 0), which makes almost no progress on images, so
            SLIDE moves the top 1%.
    """

    share: float = 0.01

    order: ClassVar[float] = 1

    @property
    def dual(self) -> Ball:
        return LinfBall()

    def norm(self, delta: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
        return delta.flatten(1).abs().sum(1)

    def project(self, delta: Float[Tensor, "n ..."], eps: float) -> Float[Tensor, "n ..."]:
        flat = delta.flatten(1)
        size = flat.abs().double()  # float32 sums would overstep small budgets
        ordered = size.sort(dim=1, descending=True).values
        excess = ordered.cumsum(1) - eps
        count = torch.arange(1, flat.shape[1] + 1, device=flat.device)
        kept = (ordered * count > excess).sum(1, keepdim=True).clamp(min=1)
        threshold = (excess.gather(1, kept - 1) / kept).clamp(min=0)
        return (flat.sign() * (size - threshold).clamp(min=0)).to(delta.dtype).view_as(delta)

    def sample(self, rng: Rng, shape: tuple[int, ...], eps: float) -> Float[Tensor, "n ..."]:
        dimensions = torch.Size(shape).numel()
        spacings = rng.fold("spacings").exponential((dimensions + 1,))
        size = spacings[:, :-1] / spacings.sum(1, keepdim=True)
        sign = torch.where(rng.fold("signs").uniform((dimensions,)) < 0.5, -1.0, 1.0)
        return (eps * size * sign).view(len(rng), *shape)

    def direction(self, rng: Rng, shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
        return rng.normal(shape)

    def steepest(self, gradient: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        flat = gradient.flatten(1)
        count = max(1, round(self.share * flat.shape[1]))
        rows = flat.abs().topk(count, dim=1).indices
        sign = torch.zeros_like(flat).scatter_(1, rows, flat.gather(1, rows).sign())
        return (sign / _nonzero(sign.abs().sum(1), sign)).view_as(gradient)

    def diameter(self, dimensions: float) -> float:
        return float(dimensions)

    def text(self, eps: float) -> str:
        return f"{eps:.4g}"


def _nonzero(values: Float[Tensor, " n"], like: Tensor) -> Tensor:
    return _per_example(torch.where(values == 0, torch.ones_like(values), values), like)


class _Balls(dict[str, Ball]):
    """A norm that is none of these may be that of anybody's own attack."""

    def __missing__(self, norm: str) -> Ball:
        return lookup(self, norm, "norm")


BALLS: dict[str, Ball] = _Balls(linf=LinfBall(), l2=L2Ball(), l1=L1Ball())


def project_l1_in_box(
    delta: Float[Tensor, "n ..."], clean: Float[Tensor, "n ..."], eps: float
) -> Float[Tensor, "n ..."]:
    """The perturbation nearest to `delta` (in l2) of l1 size at most `eps` that keeps `clean` in [0, 1].

    Every value shrinks by one threshold and is cut at the box: sign(u) * min(max(|u| - threshold, 0), room).
    As the threshold falls past |u| a value starts to grow, and past |u| - room it stops; between these events
    the sum grows linearly, so sorting them gives the threshold exactly.
    """
    flat, image = delta.flatten(1), clean.flatten(1)
    size, room = flat.abs().double(), torch.where(flat > 0, 1 - image, image).double()
    events, order = torch.cat([size, (size - room).clamp(min=0)], 1).sort(dim=1, descending=True)
    growing = torch.where(order < flat.shape[1], 1.0, -1.0).double().cumsum(1)
    total = torch.zeros_like(events)
    total[:, 1:] = (growing[:, :-1] * -events.diff(dim=1)).cumsum(1)
    after = (total < eps).sum(1, keepdim=True).clamp(max=events.shape[1] - 1)  # the first event with enough
    slope = growing.gather(1, (after - 1).clamp(min=0)).clamp(min=1)
    threshold = events.gather(1, after) + (total.gather(1, after) - eps).clamp(min=0) / slope
    shrunk = (size - threshold).clamp(min=0).minimum(room)
    return (flat.sign() * shrunk).to(delta.dtype).view_as(delta)


def check_eps(eps: float, norm: str, dimensions: float = math.inf, *, endless: bool = False) -> None:
    """Raise `InputError` for a radius that is negative, not finite, or written on the 0-255 scale.

    With `dimensions` (values an image), l2 and l1 radii beyond the diameter of [0, 1]^d are refused too. With
    `endless`, an infinite radius is fine: any distance will do.
    """
    if endless and eps == math.inf:
        return
    if not 0 <= eps < math.inf:
        raise InputError(f"eps is {eps}", rule="a budget is a finite number >= 0", remedy="Write for example 8/255")
    limit = BALLS[norm].diameter(dimensions)
    if eps > limit:
        raise InputError(
            f"eps is {eps:g} under {norm}",
            rule=f"images lie in [0, 1], so no budget exceeds {limit:g}",
            remedy=f"If you meant the 0-255 scale, write {eps:g}/255 = {eps / 255:.5f}",
        )
