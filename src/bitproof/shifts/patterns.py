"""Drawn patterns of ImageNet-C-bar: stars, rings, chequers and water (Mintun, Kirillov & Xie 2021, arXiv:2102.11273).

Five of the ten corruptions; `fields` has the others and says where the parameters come from.
"""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from bitproof.shifts.base import Corruption, Picture, at_severity
from bitproof.shifts.blur import smooth

_SPARKLES = {"hendrycks-224": (1, 2, 3, 5, 6), "hendrycks-32": (0.7, 3.5, 5.6, 6.3, 7)}
_INVERSE = {"hendrycks-224": (1, 2, 4, 9, 10), "hendrycks-32": (1, 1.5, 2.5, 4.5, 5)}
_RINGS = {"hendrycks-224": (3, 5, 8, 9, 10), "hendrycks-32": (1, 2, 3, 4, 5)}
_CHEQUERS = {"hendrycks-224": (2, 3, 4, 5, 6), "hendrycks-32": (1, 2, 3, 4, 5)}
_WATER = {"hendrycks-224": (2.35, 3.2, 4.9, 6.6, 9.15), "hendrycks-32": (1.8, 2.6, 3.4, 4.2, 5)}


@dataclass(frozen=True, kw_only=True)
class Sparkles(Corruption):
    """Five white stars with many rays of uneven length; their radius grows with the severity."""

    name: ClassVar[str] = "sparkles"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        level, _ = at_severity(_SPARKLES, self, picture)
        height, width = picture.shape[:2]
        radius = 0.01 * level * min(height, width)
        kept = np.ones((height, width), np.float32)
        for _ in range(5):
            centre = generator.uniform(0, [height, width])
            lengths = radius * (1 + 0.25 * generator.standard_normal(generator.integers(50, 200)))
            kept *= 1 - star((height, width), centre, np.maximum(lengths, 1), power=1)
        return 1 - (1 - picture) * kept[:, :, None]


@dataclass(frozen=True, kw_only=True)
class InverseSparkles(Corruption):
    """The picture is seen through one star, with white around; the star's edge hardens with the severity."""

    name: ClassVar[str] = "inverse sparkles"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        level, _ = at_severity(_INVERSE, self, picture)
        height, width = picture.shape[:2]
        centre = generator.uniform(0.25, 0.75, 2) * [height, width]
        lengths = 0.25 * min(height, width) * (1 + 0.25 * generator.standard_normal(generator.integers(50, 200)))
        return 1 - (1 - picture) * star((height, width), centre, lengths, power=0.13 * level)[:, :, None]


def star(
    shape: tuple[int, int], centre: Float[np.ndarray, " 2"], lengths: Float[np.ndarray, " n"], power: float
) -> Float[np.ndarray, "h w"]:
    """The light, in [0, 1], of a star with one ray for each of `lengths`, in pixels: (length / distance)**(2 power).

    Between two rays the length is interpolated and the light falls by up to a quarter.
    """
    dy, dx = _from(centre, shape)
    turns = cv2.phase(-dy, -dx) * np.float32(len(lengths) / (2 * np.pi))
    ray = turns.astype(np.int32)
    part = turns - ray.astype(np.float32)
    lengths = np.append(lengths, lengths[:2]).astype(np.float32)  # rounding may reach the full turn
    reach = lengths.take(ray) + part * np.diff(lengths).take(ray)
    light = reach * reach / (dx * dx + dy * dy + np.float32(1e-4))
    if power != 1:
        light **= np.float32(power)
    return (light * (1 - (part - np.float32(0.5)) ** 2)).clip(0, 1)


@dataclass(frozen=True, kw_only=True)
class CocentricSineWaves(Corruption):
    """Adds sawtooth rings around a random point, bent by a sine of the direction."""

    name: ClassVar[str] = "cocentric sine waves"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        level, _ = at_severity(_RINGS, self, picture)
        height, width = picture.shape[:2]
        dy, dx = _from(generator.uniform(0, [height, width]), (height, width))
        waves = generator.uniform(0, 10)
        bend, ring = generator.uniform(0, 0.1 * min(height, width), 2)
        distance = np.sqrt(dx * dx + dy * dy) + np.float32(bend) * np.sin(np.arctan2(dx, dy) * np.float32(waves))
        periods = distance / np.float32(max(ring, 1e-6))
        saw = periods - np.floor(periods) - np.float32(0.5)
        return picture + np.float32(12.8 * level / 255) * saw[:, :, None]


@dataclass(frozen=True, kw_only=True)
class CheckerboardCutout(Corruption):
    """Turns a share of the black squares of a rotated chessboard to mid grey."""

    name: ClassVar[str] = "checkerboard cutout"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        level, _ = at_severity(_CHEQUERS, self, picture)
        height, width = picture.shape[:2]
        angle, square = generator.uniform(0, 2 * np.pi), max(1.0, generator.uniform(0.1, 0.25) * min(height, width))
        y, x = np.arange(height)[:, None] / square, np.arange(width) / square
        row = np.floor(np.cos(angle) * y + np.sin(angle) * x).astype(np.int64)
        column = np.floor(np.cos(angle) * x - np.sin(angle) * y).astype(np.int64)
        black = (row + column) % 2 == 0
        row -= row.min()
        column -= column.min()
        cut = generator.random((row.max() + 1, column.max() + 1)) < 0.1 * level
        return np.where((black & cut[row, column])[:, :, None], np.float32(128 / 255), picture)


@dataclass(frozen=True, kw_only=True)
class CausticRefraction(Corruption):
    """The picture through rippled water: bent by the slopes of a caustic pattern, and lit by them."""

    name: ClassVar[str] = "caustic refraction"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        level, scale = at_severity(_WATER, self, picture)
        height, width = picture.shape[:2]
        side = min(height, width)
        time, size = generator.uniform(0.5, 2), generator.uniform(0.75, 1.25) * side
        height_field = smooth(caustics(height, width, time, size), scale)
        slopes = [
            cv2.filter2D(height_field, -1, kernel, borderType=cv2.BORDER_CONSTANT).reshape(height, width)
            for kernel in (np.array([[-1.0], [0], [1]]), np.array([[-1.0, 0, 1]]))
        ]
        down, right = slopes
        move = 0.05 * level * side * refracted(np.sqrt(down * down + right * right))
        y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
        rows, columns = (y + move * down).astype(np.float32), (x + move * right).astype(np.float32)
        bent = cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        return bent.reshape(picture.shape) + np.float32(0.2 * level) * (down - right)[:, :, None]


def refracted(slope: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """How far a vertical ray of length 1 is turned aside, over `slope`, by a surface of refractive index 4.

    The surface has the unit normal n, cos a = n_z. By Snell's law the ray goes on along
    (cos b - cos a / 4) n + z / 4, where sin b = sin a / 4. Where cos a >= 0.999 it goes straight on, as in the
    reference.
    """
    cosine = 1 / np.sqrt(1 + slope * slope)
    turned = (np.sqrt(1 - (1 - cosine * cosine) / 16) - cosine / 4) * cosine
    return np.where(cosine < 0.999, turned, 0)


def caustics(height: int, width: int, time: float, size: float) -> Float[np.ndarray, "h w"]:
    """Bright lines in [0, 1] as on the floor of a pool, repeating every `size` pixels: five rounds of bent sines."""
    rows, columns = (
        (np.arange(n) / size % 1 * (2 * np.pi) - 250).astype(np.float32).reshape(shape)
        for n, shape in ((height, (-1, 1)), (width, (1, -1)))
    )
    (sin_y, cos_y), (sin_x, cos_x) = ((np.sin(p), np.cos(p)) for p in (rows, columns))
    light = np.ones((height, width), np.float32)
    for round_ in range(1, 6):
        angle = time * (1 - 3.5 / round_)
        sine, cosine = np.float32(np.sin(angle)), np.float32(np.cos(angle))
        # cos(t - y) + sin(t + x) and sin(t - x) + cos(t + y), t the angle
        y = rows + (cosine * (cos_y + sin_x) + sine * (sin_y + cos_x))
        x = columns + (sine * (cos_x - sin_y) + cosine * (cos_y - sin_x))
        sin_y, cos_y, sin_x, cos_x = np.sin(y), np.cos(y), np.sin(x), np.cos(x)
        over_y, over_x = sin_y * cosine + cos_y * sine, cos_x * cosine - sin_x * sine  # sin(y + t), cos(x + t)
        spread = np.sqrt((rows * over_x) ** 2 + (columns * over_y) ** 2)
        light += np.float32(200) * np.abs(over_y * over_x) / np.maximum(spread, np.float32(1e-6))
    bright = np.float32(1.17) - (light / 5) ** np.float32(1.4)
    for _ in range(3):
        bright *= bright
    return np.minimum(bright, 1)


def _from(centre: Float[np.ndarray, " 2"], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The vertical and horizontal distance of each pixel [h, w] of `shape` from the centre."""
    y, x = (np.arange(n) - c for n, c in zip(shape, centre, strict=True))
    return np.broadcast_to(y[:, None], shape).astype(np.float32), np.broadcast_to(x, shape).astype(np.float32)
