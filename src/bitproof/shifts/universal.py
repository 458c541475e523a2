"""One perturbation, or one patch, for all images: made on a model once (`conditions.universal`), shown to any.

Values are whole grey levels, so that the images are those that an 8-bit file or screen can show. Records hold a hash of
them: those of an ImageNet image are 150,528.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.core.balls import BALLS
from bitproof.core.places import PLACES, check_fit, placed, places_of
from bitproof.core.rng import Rng
from bitproof.data.examples import Examples
from bitproof.errors import InputError, lookup
from bitproof.records import ConditionRecord
from bitproof.settings import describe, digest
from bitproof.shifts.base import Made, Shift, all_made


@dataclass(frozen=True, kw_only=True)
class Perturbation(Shift):
    """Every image with the same values added, cut to [0, 1] (Moosavi-Dezfooli et al. 2017, arXiv 1610.08401).

    Attributes:
        levels: what is added, in grey levels, channel by channel and row by row.
        norm, eps: its budget, in [0, 1] pixel units.
        target: the class that it was made to be taken for, by name or number; None = any wrong one.
        made_on: what it was made on, for people.
        seen: digests of a sample of the images that it was made on, on which it is not tested.
    """

    levels: tuple[int, ...]
    norm: str = "linf"
    eps: float = 8 / 255
    target: str | None = None
    made_on: str = ""
    seen: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        size = BALLS[self.norm].norm(torch.tensor([self.levels], dtype=torch.float64) / 255).item()
        if size > self.eps * (1 + 1e-6):
            raise InputError(
                f"a perturbation of {self.norm} size {size:.6g}",
                rule=f"its budget is eps = {self.eps:.6g}",
                remedy="Make it by bitproof.conditions.UniversalPerturbation",
            )

    @property
    def label(self) -> str:
        budget = f"{self.norm} {BALLS[self.norm].text(self.eps)}"
        return f"universal {budget}" + _words(self.target, self.made_on)

    def make(self, examples: Examples, *, rng: Rng) -> Made:
        delta = torch.tensor(self.levels, dtype=torch.float32) / 255
        images = examples.images
        if delta.numel() != images[0].numel():
            raise InputError(
                f"a perturbation of {delta.numel()} values on images of {images[0].numel()}",
                rule="it is added value by value",
                remedy="Make it on images of this size",
            )
        return all_made((images + delta.view(images.shape[1:])).clamp(0, 1))

    def record(self) -> ConditionRecord:
        return ConditionRecord(
            kind="universal",
            label=self.label,
            group="universal " + self.norm + _words(self.target, self.made_on),
            variant=BALLS[self.norm].text(self.eps),
            setting=describe(self, sources=True) | {"levels": digest(self.levels)},
            norm=self.norm,
            eps=float(self.eps),
            targets=self.target,
        )


@dataclass(frozen=True, kw_only=True)
class Sticker(Shift):
    """Every image with the same patch (Brown et al. 2017, arXiv 1712.09665).

    Attributes:
        pixels: its values 0 to 255, channel by channel and row by row.
        side: in pixels.
        place: where it lies, a name in `core.places.PLACES`.
        target, made_on, seen: as of `Perturbation`.
    """

    pixels: tuple[int, ...]
    side: int
    place: str = PLACES[0]
    target: str | None = None
    made_on: str = ""
    seen: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(PLACES), self.place, "place of a patch")
        if not self.pixels or not (min(self.pixels) >= 0 and max(self.pixels) <= 255):
            raise InputError(
                f"a patch of {len(self.pixels)} values",
                rule="it has some, from 0 to 255",
                remedy="Make it by bitproof.conditions.UniversalPatch",
            )

    @property
    def label(self) -> str:
        return f"universal patch {self.side}x{self.side} {self.place}" + _words(self.target, self.made_on)

    def make(self, examples: Examples, *, rng: Rng) -> Made:
        images = examples.images
        check_fit(self.side, tuple(images.shape[2:]))
        if len(self.pixels) != images.shape[1] * self.side**2:
            raise InputError(
                f"a patch of {len(self.pixels)} values",
                rule=f"one of side {self.side} has {images.shape[1] * self.side**2} on these images",
                remedy="Make it on images of as many channels",
            )
        places = places_of(rng.fold("place"), self.place, self.side, images.shape[2:], 1)
        return all_made(placed(images, self._square(images), places))

    def _square(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c s s"]:
        values = torch.tensor(self.pixels, dtype=images.dtype).view(images.shape[1], self.side, self.side) / 255
        return values.expand(len(images), -1, -1, -1)

    def record(self) -> ConditionRecord:
        return ConditionRecord(
            kind="universal",
            label=self.label,
            group=self.label,
            setting=describe(self, sources=True) | {"pixels": digest(self.pixels)},
            targets=self.target,
        )


def _words(target: str | None, made_on: str) -> str:
    return (f" to {target}" if target is not None else "") + (f" from {made_on}" if made_on else "")
