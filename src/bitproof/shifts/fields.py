"""Random fields of ImageNet-C-bar: noise with a spectrum (Mintun, Kirillov & Xie 2021, arXiv:2102.11273).

Five of the ten corruptions that were chosen to be unlike those of ImageNet-C; the others are in `patterns`. The
parameters are ImageNet-C-bar's and CIFAR-10-C-bar's; a corruption that the latter lacks takes every second of the ten
levels that its authors searched at 32x32. One side of a picture is its shorter one. All is drawn, no file is read.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import cv2
import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from bitproof.shifts.base import Corruption, Picture, at_severity
from bitproof.shifts.weather import grey

_PERLIN = {"hendrycks-224": (4.6, 5.2, 5.8, 7.6, 8.8), "hendrycks-32": (5.2, 6.4, 7.6, 8.8, 10)}
_PLASMA = {"hendrycks-224": (4.75, 7, 8.5, 9.25, 10), "hendrycks-32": (1.4, 2.8, 4.2, 5.6, 7)}
_BROWNISH = {"hendrycks-224": (1, 2, 3, 4, 5), "hendrycks-32": (2.5, 4, 5.5, 6.5, 7)}
_BLUE = {"hendrycks-224": (0.8, 1.6, 2.4, 4, 5.6), "hendrycks-32": (0.7, 1.4, 2.1, 3.5, 4.2)}
_WAVE = {"hendrycks-224": (1, 1.5, 2, 4.5, 5), "hendrycks-32": (0.6, 1.2, 1.8, 2.4, 3)}


@dataclass(frozen=True, kw_only=True)
class PerlinNoise(Corruption):
    """Mixes the picture with the turbulence of Perlin noise: five octaves, the coarsest with seven cells a side."""

    name: ClassVar[str] = "perlin noise"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        level, _ = at_severity(_PERLIN, self, picture)
        share = np.float32(0.05 * level)
        height, width = picture.shape[:2]
        turbulence = perlin_turbulence(generator, height, width, 7 / min(height, width))
        return (1 - share) * picture + share * (0.5 * turbulence + 0.5).clip(0, 1)[:, :, None]


def perlin_turbulence(generator: Generator, height: int, width: int, frequency: float) -> Float[np.ndarray, "h w"]:
    """The sum over five octaves of |1.5 x gradient noise| / 2**octave (Perlin 1985), at `frequency` cells a pixel.

    As in the reference, every octave has the same gradients at the same points of its lattice. Those of the
    reference repeat after 256 points and collide in a hash, these do not.
    """
    finest = 16 * frequency
    points = int(finest * (height - 1)) + 2, int(finest * (width - 1)) + 2
    gradients = generator.random((2, *points), np.float32) * 2 - 1
    gradients /= np.maximum(np.sqrt((gradients * gradients).sum(0)), np.float32(1e-6))
    total = np.zeros((height, width), np.float32)
    for octave in range(5):
        total += np.abs(perlin(gradients, height, width, frequency * 2**octave)) * np.float32(1.5 / 2**octave)
    return total


def perlin(gradients: Float[np.ndarray, "2 a b"], height: int, width: int, frequency: float) -> np.ndarray:
    """Gradient noise [h, w] with `frequency` cells a pixel: zero at the points of the lattice.

    The vertical interpolation comes first, for all columns of the lattice at once.
    """
    across, down = gradients
    cells, offset, ease = _cells(height, frequency)
    offset, ease = offset[:, None], ease[:, None]
    used = int(frequency * (width - 1)) + 2
    sideways, upright = across[:, :used].take(cells, 0), down[:, :used].take(cells, 0) * offset
    sideways += ease * (across[:, :used].take(cells + 1, 0) - sideways)
    upright += ease * (down[:, :used].take(cells + 1, 0) * (offset - 1) - upright)
    cells, offset, ease = _cells(width, frequency)
    left = sideways.take(cells, 1) * offset + upright.take(cells, 1)
    right = sideways.take(cells + 1, 1) * (offset - 1) + upright.take(cells + 1, 1)
    return left + ease * (right - left)


def _cells(side: int, frequency: float) -> tuple[np.ndarray, Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The cell of each pixel, how far into it the pixel lies, and the same eased in and out."""
    position = frequency * np.arange(side)
    cells = position.astype(np.int64)
    offset = (position - cells).astype(np.float32)
    return cells, offset, offset * offset * (3 - 2 * offset)


@dataclass(frozen=True, kw_only=True)
class PlasmaNoise(Corruption):
    """Mixes the picture with coloured clouds: sines of coordinates that were bent by sines a few times."""

    name: ClassVar[str] = "plasma noise"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        level, _ = at_severity(_PLASMA, self, picture)
        share = np.float32(6.4 * level / 255)
        height, width, channels = picture.shape
        time, bends, sharpness = generator.uniform(0, 6 * np.pi), generator.integers(4, 7), generator.uniform(0.5, 1)
        scale = generator.uniform(0.075, 0.2) * min(height, width)
        clouds = sine_clouds(height, width, time, int(bends), sharpness, scale)
        return (1 - share) * picture + share * (clouds if channels == 3 else grey(clouds)[:, :, None])


def sine_clouds(
    height: int, width: int, time: float, bends: int, sharpness: float, scale: float
) -> Float[np.ndarray, "h w 3"]:
    """Clouds in [-1, 1]: bend k moves a point by sines of frequency 1.93**k and length (2.25 - sharpness)**-k."""
    x = np.broadcast_to(np.arange(width, dtype=np.float32) / np.float32(scale), (height, width))
    y = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None] / np.float32(scale), (height, width))
    for bend in range(bends):
        frequency, phase = np.float32(1.93**bend), np.float32(time / 1.15**bend)
        length = np.float32((2.25 - sharpness) ** -bend)
        sideways, upright = length * np.cos(y * frequency + phase), length * np.sin(x * frequency + phase)
        x, y = x + (sideways - np.float32(0.3) * upright), y + (upright + np.float32(0.3) * sideways)
    turn, shift = np.float32(time), np.float32(np.sin(time))
    return cv2.merge([np.sin(x - turn), np.sin((x + y + shift) * np.float32(0.5)), np.sin(y + turn)])


@dataclass(frozen=True, kw_only=True)
class BrownishNoise(Corruption):
    """Adds noise, another in each channel, whose amplitude falls with the square of the frequency."""

    name: ClassVar[str] = "brownish noise"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        level, _ = at_severity(_BROWNISH, self, picture)
        height, width, channels = picture.shape
        noise = coloured_noise(generator, 1 / (frequencies(height, width) ** 2 + 1), width, channels)
        noise *= np.float32(6.4 * level / 255)
        return picture + np.moveaxis(noise, 0, 2)


@dataclass(frozen=True, kw_only=True)
class BlueNoiseSample(Corruption):
    """Blackens the pixels where noise, whose amplitude rises with the frequency, is below a threshold."""

    name: ClassVar[str] = "blue noise sample"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        level, _ = at_severity(_BLUE, self, picture)
        height, width = picture.shape[:2]
        noise = coloured_noise(generator, frequencies(height, width), width, 1)[0]
        return picture * (noise > 0.3 * level - 2.5)[:, :, None]


@lru_cache(maxsize=8)
def frequencies(height: int, width: int) -> Float[np.ndarray, "h half"]:
    """The frequency, in periods a side, of each coefficient of a real picture's Fourier transform."""
    periods = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) * min(height, width)
    return periods.astype(np.float32)


def coloured_noise(
    generator: Generator, amplitude: Float[np.ndarray, "h half"], width: int, count: int
) -> Float[np.ndarray, "count h w"]:
    """Real parts of Fourier sums with the given amplitudes and random phases, of standard deviation 1.

    They keep the mean that their constant term has. The real part of two terms of opposite frequencies, equal
    amplitudes and phases a and b is that of one with phase (a - b) / 2 whose amplitude is multiplied by
    cos((a + b) / 2): so half the terms are drawn. In the first column (and, if the width is even, the last) both
    of a pair are there.
    """
    from scipy.fft import irfft2  # the import takes longer than most uses of this module

    phase, strength = generator.random((2, count, *amplitude.shape), np.float32) * np.float32(2 * np.pi)
    strength = np.cos(strength, out=strength)
    strength[:, :, 0] = 1
    if width % 2 == 0:
        strength[:, :, -1] = 1
    strength *= amplitude
    terms = np.empty(phase.shape, np.complex64)
    terms.real, terms.imag = strength * np.cos(phase), strength * np.sin(phase)
    noise = np.asarray(irfft2(terms, (amplitude.shape[0], width), overwrite_x=True))
    spread = noise.std((1, 2), keepdims=True)
    return noise / np.where(spread > 0, spread, 1)


@dataclass(frozen=True, kw_only=True)
class SingleFrequencyGreyscale(Corruption):
    """Adds one plane wave of random frequency, direction and phase to all channels."""

    name: ClassVar[str] = "single frequency greyscale"

    def corrupt(self, picture: Picture, generator: Generator) -> np.ndarray:
        level, _ = at_severity(_WAVE, self, picture)
        main = generator.uniform(-np.pi, np.pi)
        along_x, along_y = generator.permutation([main, generator.uniform(-abs(main), abs(main))])
        height, width = picture.shape[:2]
        rows, columns = (
            along_y * np.arange(height)[:, None] + generator.uniform(0, 2 * np.pi),
            along_x * np.arange(width),
        )
        wave = np.sin(rows) * np.cos(columns) + np.cos(rows) * np.sin(columns)  # the sine of the sum
        return picture + (19.6 * level / 255 * wave).astype(np.float32)[:, :, None]
