"""Digital corruptions and colour (Hendrycks & Dietterich 2019, ImageNet-C and CIFAR-10-C)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import cv2
import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from bitproof.pictures.pixels import resize
from bitproof.shifts.base import Corruption, Picture, at_severity, through_jpeg, to_8_bits

_BRIGHTNESS = {"hendrycks-224": (0.1, 0.2, 0.3, 0.4, 0.5), "hendrycks-32": (0.05, 0.1, 0.15, 0.2, 0.3)}
_CONTRAST = {"hendrycks-224": (0.4, 0.3, 0.2, 0.1, 0.05), "hendrycks-32": (0.75, 0.5, 0.4, 0.3, 0.15)}
_SATURATE = {
    "hendrycks-224": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    "hendrycks-32": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
}
_ELASTIC = {  # in sides of the picture; 244 is the reference's slip for 224
    "hendrycks-224": (
        *((244 * a, 244 * s, 244 * f) for a, s, f in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02))),
        *((244 * a, 244 * s, 244 * f) for a, s, f in ((0.07, 0.01, 0.02), (0.12, 0.01, 0.02))),
    ),
    "hendrycks-32": (
        *((32 * a, 32 * s, 32 * f) for a, s, f in ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06))),
        *((32 * a, 32 * s, 32 * f) for a, s, f in ((0.1, 0.04, 0.05), (0.1, 0.03, 0.03))),
    ),
}
_PIXELATE = {"hendrycks-224": (0.6, 0.5, 0.4, 0.3, 0.25), "hendrycks-32": (0.95, 0.9, 0.85, 0.75, 0.65)}
_QUALITY = {"hendrycks-224": (25, 18, 15, 10, 7), "hendrycks-32": (80, 65, 58, 50, 40)}


@dataclass(frozen=True, kw_only=True)
class Brightness(Corruption):
    """Raises the HSV value of every pixel, keeping hue and saturation.

    In closed form without the colour conversion: V = max(R, G, B) becomes V' = min(V + c, 1), and RGB is
    scaled by V' / V; black has no hue and turns grey.
    """

    name: ClassVar[str] = "brightness"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        amount, _ = at_severity(_BRIGHTNESS, self, picture)
        return brightened(picture, amount)


def brightened(picture: Picture, amount: float) -> np.ndarray:
    """The picture with `amount` added to its HSV value, which stays in [0, 1]."""
    planes = cv2.split(picture)
    value = largest(planes)
    raised = np.clip(value + np.float32(amount), 0, 1)
    lit = value >= np.finfo(np.float32).tiny  # below, a ratio to it overflows
    ratio = np.divide(raised, value, out=np.zeros_like(value), where=lit)
    return cv2.merge([np.where(lit, plane * ratio, raised) for plane in planes])


@dataclass(frozen=True, kw_only=True)
class Saturate(Corruption):
    """Changes the HSV saturation of every pixel, keeping hue and value; grey pixels turn red where it is raised.

    In closed form: the distance of each value from V = max(R, G, B) is scaled by S' / S.
    """

    name: ClassVar[str] = "saturate"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        (factor, offset), _ = at_severity(_SATURATE, self, picture)
        if picture.shape[2] == 1:
            return picture
        red, green, blue = cv2.split(picture)
        value = largest((red, green, blue))
        spread = value - np.minimum(np.minimum(red, green), blue)
        saturation = np.divide(spread, value, out=np.zeros_like(value), where=value > 0)
        wanted = np.clip(saturation * np.float32(factor) + np.float32(offset), 0, 1)
        ratio = np.divide(wanted, saturation, out=np.zeros_like(value), where=spread > 0)
        no_hue = np.where(spread > 0, 0, wanted * value)  # hue 0 is red: the reference lowers green and blue
        red -= value
        red *= ratio
        red += value
        for plane in (green, blue):
            plane -= value
            plane *= ratio
            plane += value
            plane -= no_hue
        return cv2.merge([red, green, blue])


@dataclass(frozen=True, kw_only=True)
class Contrast(Corruption):
    """Draws every value towards its channel's mean over the image."""

    name: ClassVar[str] = "contrast"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        factor, _ = at_severity(_CONTRAST, self, picture)
        channels = picture.shape[2]
        mean = np.array(cv2.mean(picture)[:channels])
        return cv2.transform(picture, np.column_stack([factor * np.eye(channels), (1 - factor) * mean]))


@dataclass(frozen=True, kw_only=True)
class Elastic(Corruption):
    """A random affine map, then random displacements that vary smoothly."""

    name: ClassVar[str] = "elastic"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        (strength, sigma, affine), scale = at_severity(_ELASTIC, self, picture)
        height, width = picture.shape[:2]
        corners = generator.uniform(-affine * scale, affine * scale, (3, 2)).astype(np.float32)
        picture = skewed(picture, corners)
        if strength == 0:
            return picture
        noise = generator.random((2, height, width), np.float32) * 2 - 1
        dx, dy = smooth_field(noise, sigma * scale) * (strength * scale)
        dx += np.arange(width, dtype=np.float32)
        dy += np.arange(height, dtype=np.float32)[:, None]
        return cv2.remap(picture, dx, dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def skewed(picture: Picture, moves: Float[np.ndarray, "3 2"]) -> np.ndarray:
    """The affine map that moves three corners of a square about the centre, mirrored at the edges."""
    height, width = picture.shape[:2]
    reach = max(1, min(height, width) // 3)
    corners = np.array([[1, 1], [1, -1], [-1, -1]], np.float32) * reach + np.array(
        [width // 2, height // 2], np.float32
    )
    matrix = cv2.getAffineTransform(corners, corners + moves)
    return cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101).reshape(picture.shape)


def smooth_field(noise: Float[np.ndarray, "k h w"], sigma: float) -> Float[np.ndarray, "k h w"]:
    """Gaussian blur of each [h, w], cut off at three sigmas, mirrored at the edges (SciPy's "reflect").

    The cosine transform diagonalises it, so that sigmas as long as the picture's side cost no more than small ones.
    """
    from scipy.fft import dctn, idctn  # the import takes longer than most uses of this module

    rows, columns = (_gains(side, sigma) for side in noise.shape[1:])
    gain = rows[:, None] * columns
    return np.asarray(idctn(np.asarray(dctn(noise, axes=(1, 2))) * gain, axes=(1, 2)))


@lru_cache(maxsize=8)
def _gains(side: int, sigma: float) -> Float[np.ndarray, " n"]:
    """What the cut-off Gaussian leaves of each cosine of a side."""
    steps = np.arange(-int(3 * sigma + 0.5), int(3 * sigma + 0.5) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    return (np.cos(np.pi / side * np.outer(np.arange(side), steps)) @ (weights / weights.sum())).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Pixelate(Corruption):
    """Shrinks and enlarges the picture with Pillow's box filter (pictures are rounded to 8 bits for it)."""

    name: ClassVar[str] = "pixelate"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        factor, _ = at_severity(_PIXELATE, self, picture)
        height, width = picture.shape[:2]
        small = resize(to_8_bits(picture), max(1, int(height * factor)), max(1, int(width * factor)), "pillow-box")
        return resize(small, height, width, "pillow-box") / np.float32(255)


@dataclass(frozen=True, kw_only=True)
class JPEG(Corruption):
    """Compresses and decodes with Pillow's JPEG at a low quality (pictures are rounded to 8 bits for it)."""

    name: ClassVar[str] = "jpeg"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        quality, _ = at_severity(_QUALITY, self, picture)
        return through_jpeg(to_8_bits(picture), quality) / np.float32(255)


def largest(planes: Sequence[np.ndarray]) -> Float[np.ndarray, "h w"]:
    """The HSV value: the largest of the channels, pixel by pixel."""
    value = planes[0]
    for plane in planes[1:]:
        value = np.maximum(value, plane)
    return value
