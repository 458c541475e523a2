"""Pictures of frost for the frost corruption: drawn by bitproof, or the user's own files.

The photographs that ImageNet-C was made with carry no licence, so they are not shipped. The drawn ones have
what makes frost hard for a classifier: a bright, bluish, cloudy ground and feathers of thin, bright needles.
"""

import hashlib
import math
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from bitproof.errors import InputError
from bitproof.pictures.pixels import REFERENCE_DECODER, decode

PROCEDURAL = "procedural"
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_SHAPE = (450, 600)
_TINTS = (
    ((0.31, 0.52, 0.58), 0.07),
    ((0.79, 0.80, 0.84), 0.09),
    ((0.54, 0.60, 0.65), 0.11),
    ((0.44, 0.48, 0.53), 0.17),
    ((0.28, 0.37, 0.41), 0.16),
)
"""Mean colour and standard deviation of each drawn picture: from nearly dark glass to white."""


@lru_cache(maxsize=64)
def fingerprint(source: str) -> str:
    """A hash of the textures' content: of the drawing's version, or of the user's files."""
    if source == PROCEDURAL:
        return f"{PROCEDURAL} 1"
    return hashlib.blake2b(b"".join(f.read_bytes() for f in _files(source)), digest_size=16).hexdigest()


@lru_cache(maxsize=8)
def textures(source: str, size: float, height: int, width: int) -> list[Float[np.ndarray, "h w 3"]]:
    """Float32 RGB pictures of frost in [0, 1], scaled by `size` but larger than height x width."""
    return [_scaled(texture, size, height, width) for texture in _originals(source)]


@lru_cache(maxsize=4)
def _originals(source: str) -> list[Float[np.ndarray, "h w 3"]]:
    if source == PROCEDURAL:
        return [drawn(number) for number in range(len(_TINTS))]
    files = _files(source)
    decoded = [decode(f.read_bytes(), REFERENCE_DECODER, channels=3, source=str(f)) for f in files]
    return [picture.astype(np.float32) / np.float32(255) for picture in decoded]


def _files(source: str) -> list[Path]:
    path = Path(source)
    found = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [f for f in found if f.is_file() and f.suffix.lower() in _SUFFIXES]
    if not files:
        raise InputError(
            f"no pictures of frost at {source!r}",
            rule=f"textures are {PROCEDURAL!r}, a picture or a folder of pictures ({', '.join(_SUFFIXES)})",
            remedy="Check the path",
        )
    return files


def _scaled(texture: np.ndarray, size: float, height: int, width: int) -> np.ndarray:
    size = max(size, 1.1 * height / texture.shape[0], 1.1 * width / texture.shape[1])
    shape = math.ceil(texture.shape[1] * size), math.ceil(texture.shape[0] * size)
    return cv2.resize(texture, shape, interpolation=cv2.INTER_AREA if size < 1 else cv2.INTER_CUBIC).clip(0, 1)


def drawn(number: int) -> Float[np.ndarray, "h w 3"]:
    """The drawn picture of this number: always the same."""
    generator = np.random.Generator(np.random.Philox(number))
    colour, contrast = _TINTS[number]
    relief = 0.55 * _clouds(generator) + _feathers(generator)
    relief += 0.25 * (relief - cv2.GaussianBlur(relief, (0, 0), 1.5))
    relief = (relief - relief.mean()) / relief.std() * contrast
    bluish = 1 - 0.25 * np.tanh(relief / contrast)  # thick frost is whiter
    tint = (np.array(colour) - np.mean(colour))[None, None] * bluish[:, :, None]
    return (relief[:, :, None] + np.mean(colour) + tint).clip(0, 1).astype(np.float32)


def _clouds(generator: Generator) -> Float[np.ndarray, "h w"]:
    """Noise whose amplitude is the inverse of the frequency, of standard deviation 1."""
    height, width = _SHAPE
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    clouds = np.fft.irfft2(np.fft.rfft2(generator.standard_normal(_SHAPE)) / frequency**1.2, _SHAPE)
    return clouds / clouds.std()


def _feathers(generator: Generator) -> Float[np.ndarray, "h w"]:
    """Stems with needles at 60 degrees on both sides, as ice crystals grow; the later ones over the earlier."""
    height, width = _SHAPE
    layer = np.zeros(_SHAPE, np.float32)
    for _ in range(240):
        stem = generator.uniform(0, [width, height])
        length, bright = generator.gamma(4, 16), generator.uniform(0.3, 1.8)
        along = np.arange(0, length, 2.5)
        headings = generator.uniform(0, 2 * np.pi) + generator.normal(0, 0.006) * along
        stem = stem + np.cumsum(2.5 * _towards(headings), 0)
        for side in (-np.pi / 3, np.pi / 3):
            reach = 0.4 * (length - along) * generator.uniform(0.4, 1, len(along))
            _draw(layer, np.stack([stem, stem + reach[:, None] * _towards(headings + side)], 1), 0.6 * bright)
        _draw(layer, stem[None], bright)
    return layer


def _towards(headings: np.ndarray) -> Float[np.ndarray, "n 2"]:
    return np.column_stack([np.cos(headings), np.sin(headings)])


def _draw(layer: np.ndarray, lines: Float[np.ndarray, "k n 2"], brightness: float) -> None:
    cv2.polylines(layer, list(np.rint(lines * 16).astype(np.int32)), False, brightness, 1, cv2.LINE_AA, 4)
