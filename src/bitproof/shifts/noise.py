"""Noise corruptions (Hendrycks & Dietterich 2019, ImageNet-C and CIFAR-10-C)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from bitproof.core.rng import Rng
from bitproof.shifts.base import Corruption, at_severity

_SIGMA = {"hendrycks-224": (0.08, 0.12, 0.18, 0.26, 0.38), "hendrycks-32": (0.04, 0.06, 0.08, 0.09, 0.10)}


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Corruption):
    """Adds independent normal noise to every value, then clips."""

    severity: int = 3
    profile: str = "hendrycks-32"

    @property
    def name(self) -> str:
        return "gaussian noise"

    def __call__(self, images: Float[Tensor, "n c h w"], *, rng: Rng) -> Float[Tensor, "n c h w"]:
        noise = rng.normal(tuple(images.shape[1:])).to(images)
        return noise.mul_(at_severity(_SIGMA, self)).add_(images).clamp_(0, 1)
