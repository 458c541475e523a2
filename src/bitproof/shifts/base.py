"""What every shift is: a frozen setting that makes images from examples, or another model from a model."""

import abc
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.random import Generator
from PIL import Image
from torch import Tensor, nn

from bitproof.core.calling import ROUNDING
from bitproof.core.rng import Rng
from bitproof.data.examples import Examples
from bitproof.errors import InputError, UnreadableError, kind_of, lookup
from bitproof.pictures.pixels import to_tensor
from bitproof.records import ConditionRecord
from bitproof.settings import describe
from bitproof.settings.source import is_own

PROFILES = ("hendrycks-32", "hendrycks-224", "scaled")
"""Parameter tables: CIFAR-10-C's (32x32) and ImageNet-C's (224x224), Hendrycks & Dietterich 2019; "scaled" takes
the one that is nearer in size and stretches what is measured in pixels to the image's shorter side."""

PROTOCOLS = ("memory", "uint8", "jpeg-85")
"""What is handed on: the values as they are, cut to 8 bits (as CIFAR-10-C is stored), or cut to 8 bits and through
JPEG at quality 85 (as ImageNet-C is stored)."""

Picture = Float[np.ndarray, "h w c"]
Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a shift made of some examples.

    Attributes:
        made: bool [n], of which of them it could be made.
        frames: float32 [m, f, c, h, w] in [0, 1], for those; one frame but for sequences.
    """

    made: Bool[np.ndarray, " n"]
    frames: Float[Tensor, "m f c h w"]


class Shift(abc.ABC):
    """A condition that is made from the example alone, so that its images serve every model.

    A shift of one's own is a frozen dataclass with `label`, `make` and `record`; a corruption of one's own needs only
    `Corruption.corrupt`.
    """

    family: ClassVar[str] = "shifted"
    passes: ClassVar[int] = 1
    """Forward passes an example, about."""
    frames: ClassVar[int] = 1
    """Frames an example, about."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """Short form for people, one a setting."""

    @abc.abstractmethod
    def make(self, examples: Examples, *, rng: Rng) -> Made:
        """The images that models are tested on.

        Args:
            examples: in every form that a shift may start from.
            rng: keyed randomness for them.
        """

    @abc.abstractmethod
    def record(self) -> ConditionRecord:
        """How results name it; `setting` is `describe(self, sources=True)` unless it holds what is no setting."""


class Rerun(abc.ABC):
    """A condition under which the model itself is run another way, on the clean images."""

    family: ClassVar[str] = "rerun"
    passes: ClassVar[int] = 1

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """Short form for people, one a setting."""

    @abc.abstractmethod
    def __call__(self, model: nn.Module) -> nn.Module:
        """A copy of the model that is run this way."""

    @abc.abstractmethod
    def record(self) -> ConditionRecord:
        """How results name it."""


def all_made(images: Float[Tensor, "n c h w"]) -> Made:
    """One image an example, of every example."""
    return Made(made=np.ones(len(images), bool), frames=images[:, None])


def made_one_by_one(examples: Examples, picture: Callable[[int], UInt8[np.ndarray, "h w c"]]) -> Made:
    """What is made of one file after the other, where files may be refused."""
    made, pictures = np.zeros(len(examples), bool), []
    for i in range(len(examples)):
        with suppress(UnreadableError):
            pictures.append(picture(i))
            made[i] = True
    images = to_tensor(np.stack(pictures)) if pictures else torch.empty(0, *examples.data.shape)
    return Made(made=made, frames=images[:, None])


@dataclass(frozen=True, kw_only=True)
class Corruption(Shift):
    """A natural corruption of images of any size, RGB or grey.

    Attributes:
        severity: 1 (mild) to 5 (strong).
        profile: which table the parameters come from, one of `PROFILES`.
        protocol: what is done to the corrupted image, one of `PROTOCOLS`.

    Raises:
        InputError: an unknown severity, profile or protocol.
    """

    name: ClassVar[str]
    """The corruption without its severity, e.g. "gaussian noise"."""
    channels: ClassVar[tuple[int, ...]] = (1, 3)
    """Numbers of channels that it is defined for; a corruption of one's own may know others."""

    severity: int = 3
    profile: str = "hendrycks-32"
    protocol: str = "memory"

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(PROFILES), self.profile, "corruption profile")
        lookup(dict.fromkeys(PROTOCOLS), self.protocol, "corruption protocol")
        if self.severity not in range(1, 6):
            raise InputError(
                f"severity is {self.severity}", rule="corruptions have severities 1 to 5", remedy="Pick one of them"
            )

    @property
    def label(self) -> str:
        """Name, severity, and the protocol unless it is "memory", e.g. "fog 3 jpeg-85"."""
        return f"{self.name} {self._variant}"

    @property
    def _variant(self) -> str:
        return f"{self.severity}" + (f" {self.protocol}" if self.protocol != "memory" else "")

    def record(self) -> ConditionRecord:
        return ConditionRecord(
            kind="corruption",
            label=self.label,
            group=self.name,
            variant=self._variant,
            severity=self.severity,
            setting=describe(self, sources=True),
        )

    def make(self, examples: Examples, *, rng: Rng) -> Made:
        return all_made(self(examples.images, rng=rng))

    def __call__(
        self, images: Float[Tensor, "n c h w"] | UInt8[Tensor, "n c h w"], *, rng: Rng
    ) -> Float[Tensor, "n c h w"] | UInt8[Tensor, "n c h w"]:
        """Corrupted copies of `images`, on the same device and of the same type.

        An image's result depends on the image, the setting and its own stream in `rng` alone.

        Args:
            images: floats in [0, 1] or uint8 in [0, 255]; one channel (grey) or three (RGB). uint8 results are cut
                to whole numbers, not rounded, as the reference does.
            rng: keyed randomness for these images.
        """
        if images.shape[1] not in self.channels:
            raise InputError(
                f"corruption {self.label!r} of images with {images.shape[1]} channels",
                rule=f"it is defined for {' and '.join(map(str, self.channels))} (grey and RGB)",
                remedy="Test such images clean, under attacks, and under shifts of your own",
            )
        pictures = images.detach().cpu().numpy()
        results = np.empty(pictures.shape, pictures.dtype)
        for planes, result, generator in zip(pictures, results, rng.generators(), strict=True):
            picture = as_picture(planes)
            corrupted = self._believed(self.corrupt(picture, generator), picture)
            if self.protocol != "memory" or result.dtype == np.uint8:
                corrupted = _stored(corrupted, jpeg=self.protocol == "jpeg-85")
                if result.dtype != np.uint8:
                    corrupted = corrupted.astype(np.float32) / np.float32(255)
            result[:] = as_planes(corrupted)
        return torch.from_numpy(results).to(images.device)

    def _believed(self, given: object, picture: Picture) -> Picture:
        """What `corrupt` returned, cut to [0, 1]. Formulas of this package go beyond that, as published; of anybody
        else's nothing may, as it would be another scale as often as a bright spot.

        Raises:
            InputError: something else than an array of floats of the picture's shape, or values outside [0, 1].
        """
        known = {picture.shape} | ({picture.shape[:2]} if picture.shape[2] == 1 else set())
        if not isinstance(given, np.ndarray) or given.dtype.kind != "f" or given.shape not in known:
            shape = f" of shape {given.shape}" if isinstance(given, np.ndarray) else ""
            raise InputError(
                f"corruption {self.label!r} returned {kind_of(given)}{shape}",
                rule=f"`corrupt` returns an array of floats in [0, 1], of its picture's shape {picture.shape}",
                remedy="Return the picture as (h, w, c) and divide 8-bit values by 255",
            )
        if not is_own(type(self)):
            low, high = given.min(), given.max()
            if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # catches NaN too
                raise InputError(
                    f"corruption {self.label!r} returned values from {low:.4g} to {high:.4g}",
                    rule="pictures lie in [0, 1]",
                    remedy="Divide 8-bit values by 255; where a bright spot may go beyond, end with "
                    "np.clip(picture, 0, 1)",
                )
        return np.clip(given.reshape(picture.shape), 0, 1)

    @abc.abstractmethod
    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        """A corrupted copy of one picture, floats in [0, 1].

        A grey picture may come back without its channel axis, as OpenCV returns it.
        """


def at_severity(table: Mapping[str, Sequence[Row]], corruption: Corruption, picture: np.ndarray) -> tuple[Row, float]:
    """The parameters for this severity and picture, and the factor that lengths in pixels are stretched by."""
    profile, scale = nearest_profile(corruption.profile, picture.shape[:2])
    return table[profile][corruption.severity - 1], scale


def nearest_profile(profile: str, shape: tuple[int, ...]) -> tuple[str, float]:
    """The published profile that `profile` means for pictures [h, w] = `shape`, and what lengths are stretched by."""
    if profile != "scaled":
        return profile, 1.0
    side = min(shape)
    return ("hendrycks-32", side / 32) if side * side < 32 * 224 else ("hendrycks-224", side / 224)


def to_8_bits(picture: Picture) -> UInt8[np.ndarray, "h w c"]:
    """The picture rounded to whole grey levels."""
    return np.rint(picture * 255).astype(np.uint8)


def through_jpeg(picture: UInt8[np.ndarray, "h w c"], quality: int) -> UInt8[np.ndarray, "h w c"]:
    """The picture compressed and decoded by Pillow's JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)).reshape(picture.shape)


def as_picture(planes: np.ndarray) -> np.ndarray:
    """Planes [c, h, w] as a float32 picture [h, w, c] of its own."""
    picture = planes[0][:, :, None].copy() if len(planes) == 1 else cv2.merge(list(planes))
    return picture.astype(np.float32) / np.float32(255) if picture.dtype == np.uint8 else picture.astype(np.float32)


def as_planes(picture: np.ndarray) -> np.ndarray:
    """A picture [h, w, c] as planes [c, h, w]."""
    return picture[None, :, :, 0] if picture.shape[2] == 1 else np.stack(cv2.split(picture))


def _stored(picture: Picture, *, jpeg: bool) -> UInt8[np.ndarray, "h w c"]:
    pixels = (picture * 255 + 1e-3).astype(np.uint8)  # 1e-3: float32 may fall short of a whole number
    return through_jpeg(pixels, 85) if jpeg else pixels
