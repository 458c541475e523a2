"""Shifts: what happens to images between the world and the model, without an adversary.

Corruptions are `(images, *, rng) -> images`; sequences give every image several frames; systematic shifts are
`(encoded bytes) -> image`, or `(model) -> model` where the model is run another way; released files are
read by position or name.
"""

from collections.abc import Callable

from bitproof.settings import name_family
from bitproof.shifts.base import Corruption, Made, Rerun, Shift, all_made
from bitproof.shifts.blur import DefocusBlur, GaussianBlur, GlassBlur, MotionBlur, ZoomBlur
from bitproof.shifts.digital import JPEG, Brightness, Contrast, Elastic, Pixelate, Saturate
from bitproof.shifts.fields import BlueNoiseSample, BrownishNoise, PerlinNoise, PlasmaNoise, SingleFrequencyGreyscale
from bitproof.shifts.inference import Inference
from bitproof.shifts.noise import GaussianNoise, ImpulseNoise, ShotNoise, SpeckleNoise
from bitproof.shifts.patterns import (
    CausticRefraction,
    CheckerboardCutout,
    CocentricSineWaves,
    InverseSparkles,
    Sparkles,
)
from bitproof.shifts.released import CifarC, ImageNetC, ImageNetP, Released
from bitproof.shifts.sequences import (
    BrightnessSequence,
    GaussianBlurSequence,
    GaussianNoiseSequence,
    MotionBlurSequence,
    RotateSequence,
    ScaleSequence,
    Sequence,
    ShearSequence,
    ShotNoiseSequence,
    SnowSequence,
    SpatterSequence,
    SpeckleNoiseSequence,
    TiltSequence,
    TranslateSequence,
    ZoomBlurSequence,
)
from bitproof.shifts.systematic import Pipeline
from bitproof.shifts.triggers import Blended, Patch, Sinusoid, Square, Trigger, Warped
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

IMAGENET_C_BAR: dict[str, Callable[..., Corruption]] = {
    "caustic-refraction": CausticRefraction,
    "inverse-sparkles": InverseSparkles,
    "sparkles": Sparkles,
    "perlin-noise": PerlinNoise,
    "blue-noise-sample": BlueNoiseSample,
    "plasma-noise": PlasmaNoise,
    "checkerboard-cutout": CheckerboardCutout,
    "cocentric-sine-waves": CocentricSineWaves,
    "single-frequency-greyscale": SingleFrequencyGreyscale,
    "brownish-noise": BrownishNoise,
}
"""Ten that are unlike those, to see what was learnt for the fifteen only (Mintun, Kirillov & Xie 2021)."""

CORRUPTIONS: dict[str, Callable[..., Corruption]] = {**IMAGENET_C, **IMAGENET_C_EXTRA, **IMAGENET_C_BAR}

IMAGENET_P: dict[str, Callable[..., Sequence]] = {
    "gaussian-noise-sequence": GaussianNoiseSequence,
    "shot-noise-sequence": ShotNoiseSequence,
    "motion-blur-sequence": MotionBlurSequence,
    "zoom-blur-sequence": ZoomBlurSequence,
    "snow-sequence": SnowSequence,
    "brightness-sequence": BrightnessSequence,
    "translate-sequence": TranslateSequence,
    "rotate-sequence": RotateSequence,
    "tilt-sequence": TiltSequence,
    "scale-sequence": ScaleSequence,
}
"""The ten sequences of the benchmark."""
IMAGENET_P_EXTRA: dict[str, Callable[..., Sequence]] = {
    "speckle-noise-sequence": SpeckleNoiseSequence,
    "gaussian-blur-sequence": GaussianBlurSequence,
    "spatter-sequence": SpatterSequence,
    "shear-sequence": ShearSequence,
}
"""The four that were set aside for tuning methods on."""

SEQUENCES: dict[str, Callable[..., Sequence]] = {**IMAGENET_P, **IMAGENET_P_EXTRA}
SYSTEMATIC: dict[str, Callable[..., Pipeline | Inference]] = {"pipeline": Pipeline, "inference": Inference}
TRIGGERS: dict[str, type[Trigger]] = {
    "corner-square": Square,
    "patch": Patch,
    "blended": Blended,
    "warped": Warped,
    "sinusoid": Sinusoid,
}
"""What backdoors look for; a condition under which every image has it."""
name_family(Trigger, "trigger", TRIGGERS)

RELEASED: dict[str, Callable[..., Released]] = {"cifar-c": CifarC, "imagenet-c": ImageNetC, "imagenet-p": ImageNetP}

__all__ = [
    "CORRUPTIONS",
    "IMAGENET_C",
    "IMAGENET_C_BAR",
    "IMAGENET_C_EXTRA",
    "IMAGENET_P",
    "IMAGENET_P_EXTRA",
    "JPEG",
    "RELEASED",
    "SEQUENCES",
    "SYSTEMATIC",
    "TRIGGERS",
    "Blended",
    "BlueNoiseSample",
    "Brightness",
    "BrightnessSequence",
    "BrownishNoise",
    "CausticRefraction",
    "CheckerboardCutout",
    "CifarC",
    "CocentricSineWaves",
    "Contrast",
    "Corruption",
    "DefocusBlur",
    "Elastic",
    "Fog",
    "Frost",
    "GaussianBlur",
    "GaussianBlurSequence",
    "GaussianNoise",
    "GaussianNoiseSequence",
    "GlassBlur",
    "ImageNetC",
    "ImageNetP",
    "ImpulseNoise",
    "Inference",
    "InverseSparkles",
    "Made",
    "MotionBlur",
    "MotionBlurSequence",
    "Patch",
    "PerlinNoise",
    "Pipeline",
    "Pixelate",
    "PlasmaNoise",
    "Released",
    "Rerun",
    "RotateSequence",
    "Saturate",
    "ScaleSequence",
    "Sequence",
    "ShearSequence",
    "Shift",
    "ShotNoise",
    "ShotNoiseSequence",
    "SingleFrequencyGreyscale",
    "Sinusoid",
    "Snow",
    "SnowSequence",
    "Sparkles",
    "Spatter",
    "SpatterSequence",
    "SpeckleNoise",
    "SpeckleNoiseSequence",
    "Square",
    "TiltSequence",
    "TranslateSequence",
    "Trigger",
    "Warped",
    "ZoomBlur",
    "ZoomBlurSequence",
    "all_made",
]
