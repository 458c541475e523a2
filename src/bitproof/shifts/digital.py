"""Brightness, contrast and JPEG corruptions (Hendrycks & Dietterich 2019, ImageNet-C and CIFAR-10-C)."""

import io
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from bitproof.core.pixels import to_tensor
from bitproof.core.rng import Rng
from bitproof.shifts.base import Corruption, at_severity

_BRIGHTNESS = {"hendrycks-224": (0.1, 0.2, 0.3, 0.4, 0.5), "hendrycks-32": (0.05, 0.1, 0.15, 0.2, 0.3)}
_CONTRAST = {"hendrycks-224": (0.4, 0.3, 0.2, 0.1, 0.05), "hendrycks-32": (0.75, 0.5, 0.4, 0.3, 0.15)}
_QUALITY = {"hendrycks-224": (25, 18, 15, 10, 7), "hendrycks-32": (80, 65, 58, 50, 40)}


@dataclass(frozen=True, kw_only=True)
class Brightness(Corruption):
    """Raises the HSV value of every pixel, keeping hue and saturation.

    In closed form without the colour conversion: V = max(R, G, B) becomes V' = min(V + c, 1), and RGB is
    scaled by V' / V; black has no hue and turns grey.
    """

    severity: int = 3
    profile: str = "hendrycks-32"

    @property
    def name(self) -> str:
        return "brightness"

    def __call__(self, images: Float[Tensor, "n c h w"], *, rng: Rng) -> Float[Tensor, "n c h w"]:
        value = images.amax(1, keepdim=True)
        raised = (value + at_severity(_BRIGHTNESS, self)).clamp(max=1)
        return torch.where(value > 0, images * (raised / value), raised).clamp_(0, 1)


@dataclass(frozen=True, kw_only=True)
class Contrast(Corruption):
    """Draws every value towards its channel's mean over the image."""

    severity: int = 3
    profile: str = "hendrycks-32"

    @property
    def name(self) -> str:
        return "contrast"

    def __call__(self, images: Float[Tensor, "n c h w"], *, rng: Rng) -> Float[Tensor, "n c h w"]:
        mean = images.mean((2, 3), keepdim=True)
        return torch.lerp(mean.expand_as(images), images, at_severity(_CONTRAST, self)).clamp_(0, 1)


@dataclass(frozen=True, kw_only=True)
class JPEG(Corruption):
    """Compresses and decodes with Pillow's JPEG at a low quality (images are rounded to 8 bits for it)."""

    severity: int = 3
    profile: str = "hendrycks-32"

    @property
    def name(self) -> str:
        return "jpeg"

    def __call__(self, images: Float[Tensor, "n c h w"], *, rng: Rng) -> Float[Tensor, "n c h w"]:
        quality = int(at_severity(_QUALITY, self))
        pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return to_tensor(np.stack([_through_jpeg(image, quality) for image in pixels])).to(images)


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)).reshape(image.shape)
