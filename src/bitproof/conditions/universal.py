"""Making one perturbation or one patch for all images, on images that are not those of the test.

    d_{t+1} = project_eps( d_t + step_t * steepest( mean over a batch of  grad_d min(loss(x + d), beta) ) )

Sources: Moosavi-Dezfooli et al. 2017 (arXiv 1610.08401) for perturbations, made here by gradient steps on a clipped
loss as in Shafahi et al. 2020 (1811.11304, Algorithm 2: an image that is lost already pulls no more); Brown et al. 2017
(1712.09665) for patches in any place. What comes out is a condition like any other, and shows all models the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bitproof.attacks.checks import check_counts
from bitproof.attacks.goal import input_gradient
from bitproof.conditions.targets import class_number
from bitproof.core import losses
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.calling import check_classes, check_logits, device_of, logits_of
from bitproof.core.places import PLACES, check_fit, placed, places_of
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.data.base import spread
from bitproof.errors import InputError, lookup
from bitproof.pictures.pixels import ids
from bitproof.quant import freeze
from bitproof.settings import parse
from bitproof.shifts.universal import Perturbation, Sticker

FIRST, FALL = 0.5, 0.05
"""The first step in eps (of a patch, in its range), and what is left of it at the last one."""

SAMPLE = 256
"""Images by which a change for all images is known to be tested on what it was made on."""

BETA = 9.0
"""The loss from which on an image pulls no more."""


@dataclass(frozen=True, kw_only=True)
class UniversalPerturbation:
    """One perturbation for all images (Moosavi-Dezfooli et al. 2017).

    Attributes:
        norm, eps: its budget, "linf" or "l2", in [0, 1] pixel units.
        steps: gradient steps, each on a batch.
        batch: images a step.
        target: class to be taken for, by name or number; None = any wrong one.
        name: of what it is made on, for labels.
    """

    norm: str = "linf"
    eps: float = 8 / 255
    steps: int = 200
    batch: int = 64
    target: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        lookup({"linf": None, "l2": None}, self.norm, "norm of a universal perturbation")
        check_eps(self.eps, self.norm)
        check_counts(self, "steps", "batch")

    def __call__(self, model: nn.Module, data: Data, *, seed: int = 0, rng: Rng | None = None) -> Perturbation:
        """The perturbation.

        Args:
            model: maps images in [0, 1] to logits, and has gradients.
            data: images to make it on, others than it is tested on.
            seed: of all randomness.
            rng: keyed by one id; instead of a seed.

        Raises:
            InputError: a target that is no class, or a model without gradients.
        """
        ball, start = BALLS[self.norm], torch.zeros(1, *data.shape)

        def shown(images: Tensor, delta: Tensor, _: Rng) -> Tensor:
            return (images + delta).clamp(0, 1)

        def step(delta: Tensor, gradient: Tensor, length: float) -> Tensor:
            return ball.project(delta + length * self.eps * ball.steepest(gradient), self.eps)

        delta = _climbed(self, model, data, start, shown, step, Rng.of_run(seed, rng))
        levels = (delta.double() * 255 + 1e-4 * delta.sign()).trunc().flatten()  # towards 0, to stay within eps
        return Perturbation(
            levels=tuple(levels.int().tolist()),
            norm=self.norm,
            eps=self.eps,
            target=self.target,
            made_on=self.name,
            seen=_seen(data),
        )


@dataclass(frozen=True, kw_only=True)
class UniversalPatch:
    """One patch for all images (Brown et al. 2017).

    Attributes:
        side: of the square, in pixels.
        place: where it will lie, a name in `core.places.PLACES`; for "any" each image of each step draws one.
        steps, batch, target, name: as of `UniversalPerturbation`.
    """

    side: int = 8
    place: str = PLACES[0]
    steps: int = 200
    batch: int = 64
    target: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(PLACES), self.place, "place of a patch")
        check_counts(self, "side", "steps", "batch")

    def __call__(self, model: nn.Module, data: Data, *, seed: int = 0, rng: Rng | None = None) -> Sticker:
        """The patch; see `UniversalPerturbation`.

        Raises:
            InputError: also a patch that is larger than the images.
        """
        check_fit(self.side, data.shape[1:])
        start = torch.full((1, data.shape[0], self.side, self.side), 0.5)

        def shown(images: Tensor, patch: Tensor, keyed: Rng) -> Tensor:
            places = places_of(keyed, self.place, self.side, images.shape[2:], 1)
            return placed(images, patch.expand(len(images), -1, -1, -1), places)

        def step(patch: Tensor, gradient: Tensor, length: float) -> Tensor:
            return (patch + length * gradient.sign()).clamp(0, 1)

        patch = _climbed(self, model, data, start, shown, step, Rng.of_run(seed, rng))
        pixels = tuple((patch * 255).round().int().flatten().tolist())
        return Sticker(
            pixels=pixels,
            side=self.side,
            place=self.place,
            target=self.target,
            made_on=self.name,
            seen=_seen(data),
        )


UNIVERSAL: dict[str, Callable[..., UniversalPerturbation | UniversalPatch]] = {
    "perturbation": UniversalPerturbation,
    "patch": UniversalPatch,
}
"""What makes one change for all images, by the name that the command line takes."""


def parse_universal(text: str) -> UniversalPerturbation | UniversalPatch:
    """Read `name:field=value,...`, e.g. `perturbation:eps=8/255,steps=100`."""
    found = parse(text, UNIVERSAL, "universal perturbation or patch")
    assert isinstance(found, (UniversalPerturbation, UniversalPatch))
    return found


def _seen(data: Data) -> tuple[int, ...]:
    """Digests of a sample of the images: of all data, even where few steps do not come to all of them."""
    return tuple(ids(data.images(spread(len(data), SAMPLE))).tolist())


def _climbed(
    how: UniversalPerturbation | UniversalPatch,
    model: nn.Module,
    data: Data,
    start: Float[Tensor, "1 c ..."],
    shown: Callable[[Tensor, Tensor, Rng], Tensor],
    step: Callable[[Tensor, Tensor, float], Tensor],
    rng: Rng,
) -> Float[Tensor, "1 c ..."]:
    """What is common to all images, after all steps, on the CPU."""
    if not len(data):
        raise InputError("no images", rule="it is made on some", remedy="Pass data that are not empty")
    model, number = freeze(model), None if how.target is None else class_number(how.target, data.classes)
    device, common = device_of(model), start
    size = min(how.batch, len(data))
    for index in range(how.steps):
        epoch, place = divmod(index * size, len(data) - len(data) % size)
        order = rng.fold("order", epoch).permutation(len(data))[0].numpy()
        rows = order[place : place + size]
        labels = torch.from_numpy(data.labels[rows])
        keyed = Rng(rng.seed, data.ids[rows], (*rng.path, "places", index))
        x = common.to(device).requires_grad_()
        logits = logits_of(model, shown(data.images(rows).to(device), x, keyed))
        check_logits(logits, labels)
        check_classes(logits.shape[1], int(labels.max()))
        gain = _gain(logits, labels.to(device), number)
        length = FIRST * (1 + (FALL - 1) * index / max(how.steps - 1, 1))
        common = step(common, input_gradient(gain, x).cpu(), length)
    return common


def _gain(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"], target: int | None) -> Float[Tensor, ""]:
    """What is maximised: the clipped loss of the labels, or less that of the target on the images of other classes."""
    if target is None:
        return losses.cross_entropy(logits, labels).clamp(max=BETA).sum()
    others = labels != target
    return -losses.cross_entropy(logits, torch.full_like(labels, target))[others].sum()
