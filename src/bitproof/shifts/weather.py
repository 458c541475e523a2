"""Weather corruptions (Hendrycks & Dietterich 2019, ImageNet-C and CIFAR-10-C)."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import cv2
import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from bitproof.shifts.base import Corruption, Picture, at_severity
from bitproof.shifts.blur import smooth, streaked, zoom_grid
from bitproof.shifts.frost import PROCEDURAL, fingerprint, textures

_SNOW = {
    "hendrycks-224": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "hendrycks-32": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
}
_FROST = {  # the last number is the size of the texture's pixel in the picture's
    "hendrycks-224": ((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1)),
    "hendrycks-32": ((1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
}
_FOG = {
    "hendrycks-224": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "hendrycks-32": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
}
_SPATTER = {
    "hendrycks-224": (
        (0.65, 0.3, 4, 0.69, 0.6, False),
        (0.65, 0.3, 3, 0.68, 0.6, False),
        (0.65, 0.3, 2, 0.68, 0.5, False),
        (0.65, 0.3, 1, 0.65, 1.5, True),
        (0.67, 0.4, 1, 0.65, 1.5, True),
    ),
    "hendrycks-32": (
        (0.62, 0.1, 0.7, 0.7, 0.5, False),
        (0.65, 0.1, 0.8, 0.7, 0.5, False),
        (0.65, 0.3, 1, 0.69, 0.5, False),
        (0.65, 0.1, 0.7, 0.69, 0.6, True),
        (0.65, 0.1, 0.5, 0.68, 0.6, True),
    ),
}
_WATER = np.array([175, 238, 238], np.float32) / 255  # pale turquoise
_MUD = np.array([63, 42, 20], np.float32) / 255
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, kw_only=True)
class Snow(Corruption):
    """Whitens the picture and adds falling flakes: enlarged noise above a threshold, streaked downwards."""

    name: ClassVar[str] = "snow"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        (mean, spread, size, threshold, radius, sigma, share), scale = at_severity(_SNOW, self, picture)
        size = max(1.0, size * scale)
        height, width = picture.shape[:2]
        noise = generator.standard_normal((math.ceil(height / size), math.ceil(width / size)), np.float32)
        layer = flakes(mean + spread * noise, size, (height, width), threshold)
        return snowed(picture, layer, radius * scale, sigma * scale, generator.uniform(-135, -45), share)


def flakes(noise: Float[np.ndarray, "a b"], size: float, shape: tuple[int, int], threshold: float) -> np.ndarray:
    """The noise enlarged by `size` to [h, w] = `shape`, zero below the threshold, cut to whole grey levels."""
    for axis, side in enumerate(shape):
        noise = _stretched(noise, axis, side, size)
    noise[noise < threshold] = 0
    return np.floor(noise.clip(0, 1) * 255) / np.float32(255)


def snowed(
    picture: Picture, layer: Float[np.ndarray, "h w"], radius: float, sigma: float, angle: float, share: float
) -> np.ndarray:
    """The picture with the flakes of `layer` streaked at `angle`, and `share` of its colours kept."""
    layer = np.rint(streaked(layer, radius, sigma, angle) * 255) / np.float32(255)
    layer += np.rot90(layer, 2).copy()
    white = 1.5 * grey(picture) + 0.5
    return cv2.merge([share * p + (1 - share) * np.maximum(p, white) + layer for p in cv2.split(picture)])


@dataclass(frozen=True, kw_only=True)
class Frost(Corruption):
    """Mixes the picture with a random part of a picture of frost.

    Attributes:
        textures: "procedural" draws the frost; otherwise a picture file, or a folder of them.
        content: of the textures, as a hash, so that a result names what it was made with.

    Raises:
        InputError: no picture at `textures`.
    """

    name: ClassVar[str] = "frost"

    textures: str = PROCEDURAL
    content: str = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "content", fingerprint(self.textures))

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        (kept, added, size), scale = at_severity(_FROST, self, picture)
        height, width, channels = picture.shape
        choice = textures(self.textures, size * scale, height, width)
        texture = choice[generator.integers(len(choice))]
        top, left = (generator.integers(a - b) for a, b in zip(texture.shape, (height, width), strict=False))
        part = texture[top : top + height, left : left + width]
        return cv2.addWeighted(picture, kept, part if channels == 3 else grey(part), added, 0)


@dataclass(frozen=True, kw_only=True)
class Fog(Corruption):
    """Adds a fractal cloud and scales the picture back to its own maximum."""

    name: ClassVar[str] = "fog"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        (amount, decay), _ = at_severity(_FOG, self, picture)
        height, width, channels = picture.shape
        cloud = plasma(generator, 2 ** math.ceil(math.log2(max(height, width, 2))), decay)[:height, :width]
        most = float(picture.max())
        fogged = picture + amount * (cloud[:, :, None] if channels == 1 else cv2.merge([cloud] * channels))
        fogged *= most / (most + amount)
        return fogged


def plasma(generator: Generator, size: int, decay: float) -> Float[np.ndarray, "n n"]:
    """A diamond-square cloud in [0, 1] that repeats at its edges (Fournier, Fussell & Carpenter 1982).

    Args:
        generator: of the displacements.
        size: of the side, a power of two.
        decay: what the displacement, at first 100**2, is divided by the square of at each finer level.
    """
    cloud = np.zeros((1, 1), np.float32)
    reach = 100.0
    while len(cloud) < size:
        n = len(cloud)
        noise = generator.random((3, n, n), np.float32)
        noise *= 2 * reach * reach
        noise -= reach * reach
        finer = np.empty((n, 2, n, 2), np.float32)
        middle = _with_next(_with_next(cloud, 0), 1) / 4 + noise[0]
        finer[:, 0, :, 0] = cloud
        finer[:, 1, :, 1] = middle
        finer[:, 0, :, 1] = (_with_next(cloud, 1) + _with_last(middle, 0)) / 4 + noise[1]
        finer[:, 1, :, 0] = (_with_next(cloud, 0) + _with_last(middle, 1)) / 4 + noise[2]
        cloud = finer.reshape(2 * n, 2 * n)
        reach /= decay
    cloud -= cloud.min()
    return cloud / cloud.max()


@dataclass(frozen=True, kw_only=True)
class Spatter(Corruption):
    """Drops of water (mild) or mud (strong) on the lens."""

    name: ClassVar[str] = "spatter"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        (mean, spread, sigma, threshold, strength, mud), scale = at_severity(_SPATTER, self, picture)
        noise = mean + spread * generator.standard_normal(picture.shape[:2], np.float32)
        liquid = smooth(noise, sigma * scale)
        liquid[liquid < threshold] = 0
        if mud:
            return muddied(picture, liquid > threshold, strength * scale)
        return watered(picture, liquid, strength)


def watered(picture: Picture, liquid: Float[np.ndarray, "h w"], strength: float) -> np.ndarray:
    """The picture with the light that drops of water throw: brightest just inside the outline of each."""
    levels = (liquid.clip(0, 1) * 255).astype(np.uint8)
    distance = cv2.distanceTransform(255 - cv2.Canny(levels, 50, 150), cv2.DIST_L2, 5)
    inside = cv2.equalizeHist(cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8))
    relief = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)
    light = cv2.blur(cv2.filter2D(inside, cv2.CV_8U, relief), (3, 3)) * levels.astype(np.float32)
    light *= strength / max(float(light.max()), 1e-9)
    return cv2.merge([p + light * c for p, c in zip(cv2.split(picture), _colour(_WATER, picture), strict=True)])


def muddied(picture: Picture, wet: np.ndarray, sigma: float) -> np.ndarray:
    """The picture covered with mud where the blurred mask `wet` is dense enough."""
    cover = smooth(wet.astype(np.float32), sigma)
    cover[cover < 0.8] = 0
    clear = 1 - cover
    return cv2.merge([p * clear + cover * c for p, c in zip(cv2.split(picture), _colour(_MUD, picture), strict=True)])


def grey(picture: Float[np.ndarray, "h w c"]) -> Float[np.ndarray, "h w"]:
    """The luma of an RGB picture; a grey one as it is."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.shape[2] == 3 else picture[:, :, 0]


def _colour(colour: np.ndarray, picture: Picture) -> list[float]:
    return colour.tolist() if picture.shape[2] == 3 else [float(colour @ _GREY)]


def _stretched(noise: np.ndarray, axis: int, side: int, factor: float) -> np.ndarray:
    """Linear interpolation along one axis, to the centre `side` pixels of the enlarged axis."""
    first, step = zoom_grid(side, factor)
    part = noise.shape[axis]
    position = (first - (side - part) // 2 + step * np.arange(side)).clip(0, part - 1)
    below = position.astype(np.int64)
    weight = (position - below).astype(np.float32)
    weight = weight[:, None] if axis == 0 else weight
    low, high = noise.take(below, axis), noise.take(np.minimum(below + 1, part - 1), axis)
    return low + weight * (high - low)


def _with_next(grid: np.ndarray, axis: int) -> np.ndarray:
    return grid + np.roll(grid, -1, axis)


def _with_last(grid: np.ndarray, axis: int) -> np.ndarray:
    return grid + np.roll(grid, 1, axis)
