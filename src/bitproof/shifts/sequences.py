"""Sequences: a picture that changes a little from frame to frame (Hendrycks & Dietterich 2019, ImageNet-P, CIFAR-10-P).

A stable model keeps its prediction. What counts is not whether it is right but how often it flips, so a result holds
the prediction in every frame. The released ImageNet-P is stored as H.264 video, whose errors are part of it; these
frames are made in memory and have none.
"""

import abc
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.random import Generator
from torch import Tensor

from bitproof.core.rng import Rng
from bitproof.data.examples import Examples
from bitproof.errors import InputError, lookup
from bitproof.records import ConditionRecord
from bitproof.settings import describe
from bitproof.shifts.base import PROFILES, Made, Picture, Shift, as_picture, as_planes, nearest_profile
from bitproof.shifts.blur import smooth, streaked
from bitproof.shifts.digital import brightened
from bitproof.shifts.weather import flakes, snowed, watered

FIRST, PREVIOUS = "first", "previous"

_GAUSSIAN = {"hendrycks-224": (0.03, 0.05, 0.08), "hendrycks-32": (0.02, 0.04, 0.06)}
_PHOTONS = {"hendrycks-224": (300, 120, 60), "hendrycks-32": (700, 400, 200)}
_SPECKLE = {"hendrycks-224": (0.05, 0.1, 0.15), "hendrycks-32": (0.05, 0.07, 0.1)}
_MOTION = {"hendrycks-224": (10, 3, 4, 31), "hendrycks-32": (6, 1.8, 9, 21)}  # radius, sigma, degrees, frames
_SNOW = {"hendrycks-224": (3, 14, 4), "hendrycks-32": (2, 10, 2)}  # size of the flakes, radius, sigma
_BRIGHTNESS = {"hendrycks-224": 0.02, "hendrycks-32": 0.015}
_TRANSLATE = {"hendrycks-224": (-20, 41), "hendrycks-32": (-7, 16)}  # first position, frames
_TILT = {"hendrycks-224": 1, "hendrycks-32": 0.75}  # degrees
_SCALE = {"hendrycks-224": (0.4, 0.025), "hendrycks-32": (0.7, 0.02)}
_BLUR = {"hendrycks-224": (0.25, 0.035, 6), "hendrycks-32": (0.3, 0.015, 7)}  # first sigma, step, cut-off
_SPATTER = {
    "hendrycks-224": (0.65, 0.27, 3.7, 0.69, (0.05, 0.1, 0.15, 0.7)),
    "hendrycks-32": (0.6, 0.265, 1.75, 0.7, (0.2, 0.8)),
}


@dataclass(frozen=True, kw_only=True)
class Sequence(Shift):
    """Thirty-one frames or so of one picture.

    Attributes:
        difficulty: 1 to 3. Noise gets stronger; of all others, each frame is compared with the one so many before.
        profile: which table the parameters come from, one of `PROFILES`.
        compared: with which frame each later one is compared, "first" (noise) or "previous".

    Raises:
        InputError: an unknown difficulty or profile.
    """

    frames: ClassVar[int] = 31
    name: ClassVar[str]
    wide: ClassVar[bool] = False
    """Frames are cut out of the moved picture, not the picture before it is moved."""

    difficulty: int = 1
    profile: str = "hendrycks-32"
    compared: str = field(init=False, default=PREVIOUS)

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(PROFILES), self.profile, "corruption profile")
        if self.difficulty not in (1, 2, 3):
            raise InputError(
                f"difficulty is {self.difficulty}", rule="sequences have difficulties 1 to 3", remedy="Pick one of them"
            )

    @property
    def label(self) -> str:
        """Name and difficulty, e.g. "sequence rotate 1"."""
        return f"sequence {self.name} {self.difficulty}"

    def record(self) -> ConditionRecord:
        return ConditionRecord(
            kind="sequence",
            label=self.label,
            group=self.label,
            severity=self.difficulty,
            compared=self.compared,
            step=self.difficulty,
            setting=describe(self, sources=True),
        )

    def make(self, examples: Examples, *, rng: Rng) -> Made:
        images = examples.uncut() if self.wide else examples.images
        return Made(made=np.ones(len(examples), bool), frames=self(images, rng=rng, size=examples.size))

    def __call__(
        self,
        images: Float[Tensor, "n c h w"] | UInt8[Tensor, "n c h w"],
        *,
        rng: Rng,
        size: tuple[int, int] | None = None,
    ) -> Float[Tensor, "n f c h2 w2"]:
        """The frames of each image, in [0, 1].

        Args:
            images: in [0, 1] or uint8, one channel or three. They may be larger than the frames: ImageNet-P moves
                pictures of 256 pixels and cuts frames of 224 out of their centre.
            rng: keyed randomness for these images.
            size: height and width of the frames; the images' own by default.
        """
        size = size or (images.shape[2], images.shape[3])
        films = []
        for planes, generator in zip(images.detach().cpu().numpy(), rng.generators(), strict=True):
            picture = as_picture(planes)
            frames = self.film(
                picture if self.wide else _centre(picture, size), generator, *nearest_profile(self.profile, size)
            )
            films.append(np.stack([as_planes(_centre(frame, size).clip(0, 1)) for frame in frames]))
        return torch.from_numpy(np.stack(films)).to(images.device)

    @abc.abstractmethod
    def film(self, picture: Picture, generator: Generator, profile: str, scale: float) -> Iterable[np.ndarray]:
        """The frames, of the picture's size, with the parameters of `profile` and lengths stretched by `scale`."""


class _Noise(Sequence):
    """The clean picture, then thirty times independent noise."""

    def film(self, picture: Picture, generator: Generator, profile: str, scale: float) -> Iterable[np.ndarray]:
        yield picture
        for _ in range(30):
            yield self.noisy(picture, generator, profile)

    @abc.abstractmethod
    def noisy(self, picture: Picture, generator: Generator, profile: str) -> np.ndarray:
        """The picture with new noise."""


@dataclass(frozen=True, kw_only=True)
class GaussianNoiseSequence(_Noise):
    """Normal noise, new in each frame."""

    name: ClassVar[str] = "gaussian noise"
    compared: str = field(init=False, default=FIRST)

    def noisy(self, picture: Picture, generator: Generator, profile: str) -> np.ndarray:
        return picture + _GAUSSIAN[profile][self.difficulty - 1] * generator.standard_normal(picture.shape, np.float32)


@dataclass(frozen=True, kw_only=True)
class ShotNoiseSequence(_Noise):
    """Poisson noise, new in each frame."""

    name: ClassVar[str] = "shot noise"
    compared: str = field(init=False, default=FIRST)

    def noisy(self, picture: Picture, generator: Generator, profile: str) -> np.ndarray:
        photons = _PHOTONS[profile][self.difficulty - 1]
        return generator.poisson(picture * np.float32(photons)).astype(np.float32) / np.float32(photons)


@dataclass(frozen=True, kw_only=True)
class SpeckleNoiseSequence(_Noise):
    """Normal noise in proportion to the value, new in each frame."""

    name: ClassVar[str] = "speckle noise"
    compared: str = field(init=False, default=FIRST)

    def noisy(self, picture: Picture, generator: Generator, profile: str) -> np.ndarray:
        noise = generator.standard_normal(picture.shape, np.float32)
        return picture + _SPECKLE[profile][self.difficulty - 1] * picture * noise


@dataclass(frozen=True, kw_only=True)
class MotionBlurSequence(Sequence):
    """A streak that turns."""

    name: ClassVar[str] = "motion blur"

    def film(self, picture: Picture, generator: Generator, profile: str, scale: float) -> Iterable[np.ndarray]:
        radius, sigma, degrees, frames = _MOTION[profile]
        for i in range(frames):
            yield streaked(picture, radius * scale, sigma * scale, degrees * (i + 1 - frames))


@dataclass(frozen=True, kw_only=True)
class ZoomBlurSequence(Sequence):
    """The mean of more and more enlargements."""

    name: ClassVar[str] = "zoom blur"
    wide: ClassVar[bool] = True

    def film(self, picture: Picture, generator: Generator, profile: str, scale: float) -> Iterable[np.ndarray]:
        total = picture.copy()
        yield picture
        for i in range(1, 31):
            total += moved(picture, np.eye(2) * (1 + 0.004 * i))
            yield total / (i + 1)


@dataclass(frozen=True, kw_only=True)
class SnowSequence(Sequence):
    """The same flakes, falling in a turning direction."""

    name: ClassVar[str] = "snow"

    def film(self, picture: Picture, generator: Generator, profile: str, scale: float) -> Iterable[np.ndarray]:
        flake, radius, sigma = _SNOW[profile]
        flake = max(1.0, flake * scale)
        height, width = picture.shape[:2]
        noise = generator.standard_normal((int(np.ceil(height / flake)), int(np.ceil(width / flake))), np.float32)
        layer = flakes(0.05 + 0.3 * noise, flake, (height, width), 0.5)
        for i in range(31):
            yield snowed(picture, layer, radius * scale, sigma * scale, 4 * i - 150, 0.85)


@dataclass(frozen=True, kw_only=True)
class BrightnessSequence(Sequence):
    """From dark to bright."""

    name: ClassVar[str] = "brightness"

    def film(self, picture: Picture, generator: Generator, profile: str, scale: float) -> Iterable[np.ndarray]:
        for i in range(31):
            yield brightened(picture, _BRIGHTNESS[profile] * (i - 15))


@dataclass(frozen=True, kw_only=True)
class TranslateSequence(Sequence):
    """From left to right, a pixel a frame; what was outside is black."""

    name: ClassVar[str] = "translate"
    wide: ClassVar[bool] = True

    def film(self, picture: Picture, generator: Generator, profile: str, scale: float) -> Iterable[np.ndarray]:
        first, frames = _TRANSLATE[profile]
        for i in range(frames):
            yield moved(picture, np.eye(2), (scale * (first + i), 0))


@dataclass(frozen=True, kw_only=True)
class RotateSequence(Sequence):
    """Fifteen degrees to the left to fifteen to the right."""

    name: ClassVar[str] = "rotate"
    wide: ClassVar[bool] = True

    def film(self, picture: Picture, generator: Generator, profile: str, scale: float) -> Iterable[np.ndarray]:
        for angle in np.deg2rad(np.arange(-15, 16)):
            yield moved(picture, np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]))


@dataclass(frozen=True, kw_only=True)
class TiltSequence(Sequence):
    """The picture as a board that is turned about both its axes, seen from its diagonal's distance."""

    name: ClassVar[str] = "tilt"
    wide: ClassVar[bool] = True

    def film(self, picture: Picture, generator: Generator, profile: str, scale: float) -> Iterable[np.ndarray]:
        height, width = picture.shape[:2]
        distance = np.hypot(height, width)
        centred = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
        camera = np.array([[distance, 0, width / 2], [0, distance, height / 2], [0, 0, 1]])
        for angle in np.deg2rad(_TILT[profile] * np.arange(-15, 16)):
            sine, cosine = np.sin(angle), np.cos(angle)
            about_x = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
            about_y = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
            board = about_x @ about_y @ centred
            board[2, 2] += distance
            yield cv2.warpPerspective(picture, camera @ board, (width, height)).reshape(picture.shape)


@dataclass(frozen=True, kw_only=True)
class ScaleSequence(Sequence):
    """From far to near; what was outside is black."""

    name: ClassVar[str] = "scale"
    wide: ClassVar[bool] = True

    def film(self, picture: Picture, generator: Generator, profile: str, scale: float) -> Iterable[np.ndarray]:
        first, step = _SCALE[profile]
        for i in range(31):
            yield moved(picture, np.eye(2) * (first + step * i))


@dataclass(frozen=True, kw_only=True)
class ShearSequence(Sequence):
    """Lines lean from fifteen degrees on one side to fifteen on the other."""

    name: ClassVar[str] = "shear"
    wide: ClassVar[bool] = True

    def film(self, picture: Picture, generator: Generator, profile: str, scale: float) -> Iterable[np.ndarray]:
        for lean in np.tan(np.deg2rad(np.arange(-15, 16))):
            yield moved(picture, np.array([[1, -lean], [0, 1]]))


@dataclass(frozen=True, kw_only=True)
class GaussianBlurSequence(Sequence):
    """Sharp to blurred."""

    name: ClassVar[str] = "gaussian blur"

    def film(self, picture: Picture, generator: Generator, profile: str, scale: float) -> Iterable[np.ndarray]:
        first, step, truncate = _BLUR[profile]
        for i in range(31):
            yield smooth(picture, (first + step * i) * scale, truncate)


@dataclass(frozen=True, kw_only=True)
class SpatterSequence(Sequence):
    """Drops of water that run down the lens."""

    name: ClassVar[str] = "spatter"

    def film(self, picture: Picture, generator: Generator, profile: str, scale: float) -> Iterable[np.ndarray]:
        mean, spread, sigma, threshold, run = _SPATTER[profile]
        liquid = smooth(mean + spread * generator.standard_normal(picture.shape[:2], np.float32), sigma * scale)
        liquid[liquid < threshold] = 0
        before = len(run) // 2  # rows above that run down into a row; the others lie in it and below
        for _ in range(31):
            yield watered(picture, liquid, 0.6)
            padded = np.pad(liquid, ((before, len(run) - 1 - before), (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, len(run), 0)
            liquid = windows @ np.array(run[::-1], np.float32)


def moved(picture: Picture, matrix: np.ndarray, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """The picture under an affine map about its centre, linearly interpolated; black outside.

    Args:
        picture: [h, w, c].
        matrix: 2 x 2, of offsets (x, y) from the centre.
        shift: of the centre (x, y), in pixels.
    """
    height, width = picture.shape[:2]
    centre = np.array([width - 1, height - 1]) / 2
    forward = np.column_stack([matrix, centre + shift - matrix @ centre])
    return cv2.warpAffine(picture, forward, (width, height)).reshape(picture.shape)


def _centre(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    top, left = ((have - want) // 2 for have, want in zip(picture.shape, size, strict=False))
    return picture[top : top + size[0], left : left + size[1]].reshape(*size, -1)
