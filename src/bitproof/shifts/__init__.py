"""Shifts: what happens to images between the world and the model, without an adversary.

Corruptions are `(images, *, rng) -> images`; systematic shifts are `(encoded bytes) -> image`.
"""

from collections.abc import Callable

from bitproof.shifts.base import Corruption
from bitproof.shifts.digital import JPEG, Brightness, Contrast
from bitproof.shifts.noise import GaussianNoise
from bitproof.shifts.systematic import Pipeline

CORRUPTIONS: dict[str, Callable[..., Corruption]] = {
    "gaussian-noise": GaussianNoise,
    "brightness": Brightness,
    "contrast": Contrast,
    "jpeg": JPEG,
}
SYSTEMATIC: dict[str, Callable[..., Pipeline]] = {"pipeline": Pipeline}

__all__ = ["CORRUPTIONS", "JPEG", "SYSTEMATIC", "Brightness", "Contrast", "Corruption", "GaussianNoise", "Pipeline"]
