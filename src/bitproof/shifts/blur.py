"""Blur corruptions (Hendrycks & Dietterich 2019, ImageNet-C and CIFAR-10-C)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from jaxtyping import Float, Int
from numpy.random import Generator

from bitproof.shifts.base import Corruption, Picture, at_severity

_DEFOCUS = {
    "hendrycks-224": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "hendrycks-32": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
}
_GLASS = {
    "hendrycks-224": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "hendrycks-32": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
}
_MOTION = {
    "hendrycks-224": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "hendrycks-32": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
}
_ZOOM = {
    "hendrycks-224": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "hendrycks-32": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
}
_GAUSSIAN = {"hendrycks-224": (1, 2, 3, 4, 6), "hendrycks-32": (0.4, 0.6, 0.7, 0.8, 1)}


@dataclass(frozen=True, kw_only=True)
class DefocusBlur(Corruption):
    """Averages over a disk with a softened edge."""

    name: ClassVar[str] = "defocus blur"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        (radius, softness), scale = at_severity(_DEFOCUS, self, picture)
        return cv2.filter2D(picture, -1, disk(radius * scale, softness))


@dataclass(frozen=True, kw_only=True)
class GlassBlur(Corruption):
    """Blurs, lets every pixel take the colour of a random near one, and blurs again."""

    name: ClassVar[str] = "glass blur"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        (sigma, reach, rounds), scale = at_severity(_GLASS, self, picture)
        reach = max(1, round(reach * scale))
        height, width, channels = picture.shape
        inner = max(0, height - 2 * reach), max(0, width - 2 * reach)
        pixels = np.arange(height * width)
        for _ in range(rounds):
            pixels = pixels.take(
                shuffled(generator.integers(-reach, reach, (2, *inner), np.int8), height, width, reach)
            )
        blurred = smooth(picture, sigma * scale).reshape(-1, channels)
        whole = np.floor(blurred * 255 + 1e-3) / np.float32(255)  # the reference shuffles whole grey levels
        return smooth(whole.take(pixels, 0).reshape(picture.shape), sigma * scale)


@dataclass(frozen=True, kw_only=True)
class MotionBlur(Corruption):
    """Averages along a line of a random direction, -45 to 45 degrees, with weights that fall off."""

    name: ClassVar[str] = "motion blur"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        (radius, sigma), scale = at_severity(_MOTION, self, picture)
        return streaked(picture, radius * scale, sigma * scale, generator.uniform(-45, 45))


@dataclass(frozen=True, kw_only=True)
class ZoomBlur(Corruption):
    """The mean of the picture and its enlargements about the centre."""

    name: ClassVar[str] = "zoom blur"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        (stop, step), _ = at_severity(_ZOOM, self, picture)
        factors = np.arange(1, stop, step)
        total = picture.copy()
        for factor in factors:
            total += zoomed(picture, factor).reshape(picture.shape)
        total /= len(factors) + 1
        return total


@dataclass(frozen=True, kw_only=True)
class GaussianBlur(Corruption):
    """Convolves with a Gaussian."""

    name: ClassVar[str] = "gaussian blur"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        sigma, scale = at_severity(_GAUSSIAN, self, picture)
        return smooth(picture, sigma * scale)


def disk(radius: float, softness: float) -> Float[np.ndarray, "k k"]:
    """The reference's defocus kernel: a disk on a grid of at least 17x17 pixels, its edge blurred."""
    reach = max(8, math.ceil(radius))
    steps = np.arange(-reach, reach + 1)
    inside = (steps**2 + steps[:, None] ** 2 <= radius**2).astype(np.float32)
    edge = (3, 3) if radius <= 8 else (5, 5)
    return cv2.GaussianBlur(inside / inside.sum(), edge, softness)


def smooth(picture: np.ndarray, sigma: float, truncate: float = 4) -> np.ndarray:
    """A Gaussian blur, cut off at `truncate` sigmas, with the edge pixels repeated outside (as scikit-image does)."""
    size = 2 * int(truncate * sigma + 0.5) + 1
    if size == 1:
        return picture
    return cv2.GaussianBlur(picture, (size, size), sigma, borderType=cv2.BORDER_REPLICATE).reshape(picture.shape)


def shuffled(offsets: Int[np.ndarray, "2 a b"], height: int, width: int, reach: int) -> Int[np.ndarray, " n"]:
    """Which pixel of the picture (flat index) each pixel holds after one round of the reference's glass shuffle.

    The reference means to swap pixels but, as NumPy's views alias, copies: from the bottom right to the top left,
    each pixel takes the present value of the one at its offset. So a pixel refers to another one either as it was
    (not visited yet) or as it has become (visited); following the references to their end gives the result of
    the sequential loop, and all of them can be followed at once, two steps becoming one each time.

    Args:
        offsets: horizontal and vertical, in [-reach, reach), of the pixels [reach + 1, size - reach] that the
            reference visits (both ends counted), top left first.
        height, width: of the picture.
        reach: how far a pixel may be taken from.
    """
    n = height * width
    pixels = np.arange(n).reshape(height, width)
    sources = pixels + n  # from n on: as it was
    visited = np.s_[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1]
    x = np.arange(width, dtype=np.int32)[visited[1]] + offsets[0]
    y = np.arange(height, dtype=np.int32)[visited[0], None] + offsets[1]
    there = y * width + x
    become = (there > pixels[visited]) & (y <= height - reach) & (x > reach) & (x <= width - reach)
    sources[visited] = there + n * ~become
    sources = sources.ravel()
    pending = np.flatnonzero(sources < n)
    while pending.size:
        sources[pending] = sources[sources[pending]]
        pending = pending[sources[pending] < n]
    return sources - n


def streaked(picture: np.ndarray, radius: float, sigma: float, angle: float) -> np.ndarray:
    """Motion blur as ImageMagick defines it: a one-sided line of pixels with half-Gaussian weights.

    Pixels outside are the nearest ones inside.

    Args:
        picture: [h, w, c] or [h, w].
        radius: the line has 2 ceil(radius) + 1 pixels.
        sigma: of the weights, in pixels.
        angle: in degrees, clockwise from the right.
    """
    kernel, anchor = streak(radius, sigma, angle)
    return cv2.filter2D(picture, -1, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE)


def streak(radius: float, sigma: float, angle: float) -> tuple[Float[np.ndarray, "a b"], tuple[int, int]]:
    """The kernel of `streaked` and the position (x, y) of its first pixel."""
    width = 2 * math.ceil(radius) + 1
    # In the reference's order of operations: at -30 degrees the half pixels are decided by the last bit.
    rise, run = width * np.sin(np.deg2rad(angle)), width * np.cos(np.deg2rad(angle))
    length = math.hypot(rise, run)
    x = np.array([math.ceil(i * run / length - 0.5) for i in range(width)])
    y = np.array([math.ceil(i * rise / length - 0.5) for i in range(width)])
    weights = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    kernel = np.zeros((int(np.ptp(y)) + 1, int(np.ptp(x)) + 1), np.float32)
    np.add.at(kernel, (y - y.min(), x - x.min()), weights / weights.sum())
    return kernel, (-int(x.min()), -int(y.min()))


def zoomed(picture: np.ndarray, factor: float) -> np.ndarray:
    """The picture enlarged about its centre, linearly interpolated, and cropped to its size."""
    (y, y_step), (x, x_step) = (zoom_grid(side, factor) for side in picture.shape[:2])
    back = np.array([[x_step, 0, x], [0, y_step, y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, back, picture.shape[1::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def zoom_grid(side: int, factor: float) -> tuple[float, float]:
    """Where the pixels 0, 1, ... of an enlarged side come from: the first position and the step.

    The centre ceil(side / factor) pixels are stretched to round(that x factor), first onto first and last onto
    last, of which the centre is kept (SciPy's `zoom` in the reference).
    """
    part = math.ceil(side / factor)
    stretched = round(part * factor)
    step = (part - 1) / max(1, stretched - 1)
    return (side - part) // 2 + (stretched - side) // 2 * step, step
