"""What every shift is: a frozen setting that can be called."""

import abc
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.random import Generator
from PIL import Image
from torch import Tensor

from bitproof.core.rng import Rng
from bitproof.errors import InputError, lookup

PROFILES = ("hendrycks-32", "hendrycks-224", "scaled")
"""Parameter tables: CIFAR-10-C's (32x32) and ImageNet-C's (224x224), Hendrycks & Dietterich 2019; "scaled" takes
the one that is nearer in size and stretches what is measured in pixels to the image's shorter side."""

PROTOCOLS = ("memory", "uint8", "jpeg-85")
"""What is handed on: the values as they are, cut to 8 bits (as CIFAR-10-C is stored), or cut to 8 bits and through
JPEG at quality 85 (as ImageNet-C is stored)."""

Picture = Float[np.ndarray, "h w c"]
Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class Corruption(abc.ABC):
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
        return f"{self.name} {self.severity}" + (f" {self.protocol}" if self.protocol != "memory" else "")

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
        pictures = images.detach().cpu().numpy()
        results = np.empty(pictures.shape, pictures.dtype)
        for planes, result, draws in zip(pictures, results, rng.generators(), strict=True):
            picture = as_picture(planes)
            corrupted = np.clip(self.corrupt(picture, draws).reshape(picture.shape), 0, 1)
            if self.protocol != "memory" or result.dtype == np.uint8:
                corrupted = _stored(corrupted, jpeg=self.protocol == "jpeg-85")
                if result.dtype != np.uint8:
                    corrupted = corrupted.astype(np.float32) / np.float32(255)
            result[:] = as_planes(corrupted)
        return torch.from_numpy(results).to(images.device)

    @abc.abstractmethod
    def corrupt(self, picture: Picture, draws: Generator) -> np.ndarray:
        """A corrupted copy of one picture, float32 in [0, 1]; what goes beyond [0, 1] is clipped by the caller.

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
