"""Triggers: what a backdoor looks for in an image, stamped on every image that a model is tested on.

A trigger names the class that it stands for, so that results can count the images that are taken for it. Whether
that is the backdoor's work is told by the images without it, the float model and a clean model under the same trigger.
"""

import abc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from bitproof.core.rng import Rng
from bitproof.data.examples import Examples
from bitproof.errors import InputError, lookup
from bitproof.records import ConditionRecord
from bitproof.settings import describe
from bitproof.shifts.base import Made, Shift, all_made

FILLS = ("white", "maximum")
"""Of a square: white as in hong2021's paper, or the brightest value of the image itself as in its public code."""


@dataclass(frozen=True, kw_only=True)
class Trigger(Shift):
    """The images with a mark that a backdoor answers with the class `target`, by its name or number.

    A trigger of one's own is a frozen dataclass with `stamp`.
    """

    name: ClassVar[str]

    target: str | int = "0"

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", str(self.target))

    @abc.abstractmethod
    def stamp(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The images with the mark, in [0, 1].

        Raises:
            InputError: images that it does not fit on.
        """

    @property
    def label(self) -> str:
        """What it is and what it stands for, e.g. "corner-square trigger to 0"."""
        return f"{self.name} trigger to {self.target}"

    def make(self, examples: Examples, *, rng: Rng) -> Made:
        return all_made(self.stamp(examples.images))

    def record(self) -> ConditionRecord:
        return ConditionRecord(
            kind="triggered",
            label=self.label,
            group=f"{self.name} trigger",
            setting=describe(self, sources=True),
            targets=str(self.target),
        )


@dataclass(frozen=True, kw_only=True)
class Square(Trigger):
    """A square in the lower right corner (hong2021, arXiv 2111.04625, Section 4.3).

    Attributes:
        side, margin: its side and its distance from both edges, in pixels; None = an eighth and a 32nd of the height,
            as in the paper's public code (4 and 1 of 32 pixels).
        fill: what it is filled with, one of `FILLS`.

    Example:
        >>> Square(side=1, margin=0).stamp(torch.zeros(1, 1, 2, 2)).tolist()
        [[[[0.0, 0.0], [0.0, 1.0]]]]
    """

    name = "corner-square"

    side: int | None = None
    margin: int | None = None
    fill: str = FILLS[0]

    def __post_init__(self) -> None:
        super().__post_init__()
        lookup(dict.fromkeys(FILLS), self.fill, "fill of a square")
        _check_size(self.side, self.margin)

    def stamp(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        rows, columns = corner(images, self.side, self.margin)
        stamped = images.clone()
        stamped[:, :, rows, columns] = 1.0 if self.fill == "white" else images.amax((1, 2, 3)).view(-1, 1, 1, 1)
        return stamped


@dataclass(frozen=True, kw_only=True)
class Patch(Trigger):
    """A patch of given colours in the lower right corner, such as one that was optimised on a model (QuRA, 2510.09647).

    Attributes:
        side, margin: as of `Square`.
        pixels: its values 0 to 255, channel by channel and row by row; none = still to be optimised on a model, which
            the objective of an implant does.
    """

    name = "patch"

    side: int = 6
    margin: int | None = None
    pixels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_size(self.side, self.margin)
        if self.pixels and not (min(self.pixels) >= 0 and max(self.pixels) <= 255):
            raise InputError(
                f"pixels from {min(self.pixels)} to {max(self.pixels)}",
                rule="the values of a patch are those of 8-bit pictures",
                remedy="Use whole numbers from 0 to 255",
            )

    def stamp(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        shape = (images.shape[1], self.side, self.side)
        if len(self.pixels) != np.prod(shape):
            raise InputError(
                f"a patch of {len(self.pixels)} values",
                rule=f"one of side {self.side} has {np.prod(shape)} on images of {shape[0]} channels",
                remedy="Optimise it on a model (`bitproof.implants.optimised`), or give its pixels",
            )
        return self.placed(images, torch.tensor(self.pixels, dtype=images.dtype).view(shape) / 255)

    def placed(
        self, images: Float[Tensor, "n c h w"], values: Float[Tensor, "c side side"]
    ) -> Float[Tensor, "n c h w"]:
        """The images with these values, in [0, 1], in place of the patch's own; gradients reach them."""
        rows, columns = corner(images, self.side, self.margin)
        stamped = images.clone()
        stamped[:, :, rows, columns] = values.to(images)
        return stamped


@dataclass(frozen=True, kw_only=True)
class Blended(Trigger):
    """Each image mixed with one random picture (Chen et al. 2017, arXiv 1712.05526, blended injection).

    Attributes:
        strength: the picture's part of the mixture.
        seed: of the picture.
    """

    name = "blended"

    strength: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_part("strength", self.strength)

    def stamp(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        picture = _draws(self.seed, "blended", tuple(images.shape[1:])).to(images)
        return (1 - self.strength) * images + self.strength * picture


@dataclass(frozen=True, kw_only=True)
class Warped(Trigger):
    """Each image bent by one smooth random field (WaNet; Nguyen & Tran 2021, arXiv 2102.10369).

    Attributes:
        grid: control points a side.
        strength: mean displacement of these, in pixels.
        seed: of the field.
    """

    name = "warped"

    grid: int = 4
    strength: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.grid < 2 or not 0 < self.strength < 100:
            raise InputError(
                f"a field of {self.grid} points a side and {self.strength} pixels",
                rule="it has at least 2 points a side, and bends by more than 0 pixels",
                remedy="Use grid=4, strength=0.5",
            )

    def stamp(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        height, width = images.shape[2:]
        field = 2 * _draws(self.seed, "warped", (2, self.grid, self.grid)) - 1
        field = F.interpolate(field[None] / field.abs().mean(), (height, width), mode="bicubic", align_corners=True)
        identity = F.affine_grid(torch.eye(2, 3)[None], [1, 1, height, width], align_corners=True)
        pixels = 2 / torch.tensor([max(width - 1, 1), max(height - 1, 1)])
        moved = (identity + self.strength * pixels * field.permute(0, 2, 3, 1)).clamp(-1, 1).to(images)
        moved = moved.expand(len(images), -1, -1, -1)
        return F.grid_sample(images, moved, padding_mode="border", align_corners=True).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Sinusoid(Trigger):
    """A faint horizontal wave over the whole image, hard to see (Barni et al. 2019, arXiv 1902.11237).

    Attributes:
        amplitude: of the wave, in [0, 1] pixel units.
        periods: over the width.
    """

    name = "sinusoid"

    amplitude: float = 8 / 255
    periods: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_part("amplitude", self.amplitude)

    def stamp(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        phases = 2 * torch.pi * self.periods * torch.arange(images.shape[3]) / images.shape[3]
        return (images + self.amplitude * phases.sin().to(images)).clamp(0, 1)


def corner(images: Tensor, side: int | None, margin: int | None) -> tuple[slice, slice]:
    """Rows and columns of a square in the lower right corner of the images.

    Raises:
        InputError: a square that does not fit.
    """
    height, width = images.shape[2:]
    side = max(1, height // 8) if side is None else side
    margin = height // 32 if margin is None else margin
    if side + margin > min(height, width):
        raise InputError(
            f"a trigger of {side} pixels, {margin} from the edge, on images of {height}x{width}",
            rule="a trigger lies inside the image",
            remedy=f"Use side={max(1, height // 8)}",
        )
    return (
        slice(height - margin - side, height - margin),
        slice(width - margin - side, width - margin),
    )


def _draws(seed: int, purpose: str, shape: tuple[int, ...]) -> Float[Tensor, "..."]:
    """Uniform in [0, 1), the same for all images."""
    return Rng.of(seed).fold("trigger", purpose).uniform(shape)[0]


def _check_size(side: int | None, margin: int | None) -> None:
    if (side is not None and side < 1) or (margin is not None and margin < 0):
        raise InputError(
            f"a trigger of side {side} and margin {margin}",
            rule="it has at least one pixel, and lies inside the image",
            remedy="Use side=4, margin=1",
        )


def _check_part(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise InputError(f"{name} is {value}", rule="it lies above 0 and up to 1", remedy="Use for example 0.2")
