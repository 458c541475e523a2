"""Shifts: what happens to images between the world and the model, without an adversary.

Corruptions are `(images, *, rng) -> images`; systematic shifts are `(encoded bytes) -> image`.
"""

from collections.abc import Callable

from bitproof.shifts.base import Corruption
from bitproof.shifts.blur import DefocusBlur, GaussianBlur, GlassBlur, MotionBlur, ZoomBlur
from bitproof.shifts.digital import JPEG, Brightness, Contrast, Elastic, Pixelate, Saturate
from bitproof.shifts.noise import GaussianNoise, ImpulseNoise, ShotNoise, SpeckleNoise
from bitproof.shifts.systematic import Pipeline
from bitproof.shifts.weather import Fog, Frost, Snow, Spatter

IMAGENET_C: dict[str, Callable[..., Corruption]] = {
    "gaussian-noise": GaussianNoise,
    "shot-noise": ShotNoise,
    "impulse-noise": ImpulseNoise,
    "defocus-blur": DefocusBlur,
    "glass-blur": GlassBlur,
    "motion-blur": MotionBlur,
    "zoom-blur": ZoomBlur,
    "snow": Snow,
    "frost": Frost,
    "fog": Fog,
    "brightness": Brightness,
    "contrast": Contrast,
    "elastic": Elastic,
    "pixelate": Pixelate,
    "jpeg": JPEG,
}
"""The fifteen corruptions of the benchmark."""
IMAGENET_C_EXTRA: dict[str, Callable[..., Corruption]] = {
    "speckle-noise": SpeckleNoise,
    "gaussian-blur": GaussianBlur,
    "spatter": Spatter,
    "saturate": Saturate,
}
"""The four that were set aside for tuning methods on."""

CORRUPTIONS: dict[str, Callable[..., Corruption]] = {**IMAGENET_C, **IMAGENET_C_EXTRA}
SYSTEMATIC: dict[str, Callable[..., Pipeline]] = {"pipeline": Pipeline}

__all__ = [
    "CORRUPTIONS",
    "IMAGENET_C",
    "IMAGENET_C_EXTRA",
    "JPEG",
    "SYSTEMATIC",
    "Brightness",
    "Contrast",
    "Corruption",
    "DefocusBlur",
    "Elastic",
    "Fog",
    "Frost",
    "GaussianBlur",
    "GaussianNoise",
    "GlassBlur",
    "ImpulseNoise",
    "MotionBlur",
    "Pipeline",
    "Pixelate",
    "Saturate",
    "ShotNoise",
    "Snow",
    "Spatter",
    "SpeckleNoise",
    "ZoomBlur",
]
