"""Quantization-aware training: the quantizers are in place while the weights are learned."""

import warnings
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import prune

from bitproof.attacks.checks import check_counts
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.errors import InputError, lookup
from bitproof.quant import Scheme, UnderNoise, limited_weights, quantize

STARTS = ("given", "uniform")


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How the copy that is trained is quantized.

    Attributes:
        scheme: which quantizers go where.
        calibration: number of training images that set activation ranges, and learned steps to start from, before
            training.
        noise: standard deviation of Gaussian noise that these images are seen under, for a model that is trained on
            such noise; 0 = none.
        initial: "given" for the weights of the model that training starts from, or "uniform" for fresh ones in place of
            those that learn and that a quantizer keeps within limits (binary ones), uniform between these; others
            stay as given.
    """

    scheme: Scheme
    calibration: int = 512
    noise: float = 0.0
    initial: str = "given"

    def __post_init__(self) -> None:
        check_counts(self, "calibration")
        if not 0 <= self.noise < float("inf"):
            raise InputError(f"noise is {self.noise}", rule="it is a standard deviation", remedy="Use 0 or 0.25")
        lookup(dict.fromkeys(STARTS), self.initial, "initial")

    @torch.no_grad()
    def __call__(self, model: nn.Module, data: Data, rng: Rng) -> nn.Module:
        """A quantized copy of the float `model`, calibrated on the first images of `data`; `rng` is that of the run."""
        count = min(self.calibration, len(data))
        images = [data.images(range(i, min(i + 128, count))) for i in range(0, count, 128)]
        seen = UnderNoise(images=images, sigma=self.noise, seed=rng.seed) if self.noise else images
        quantized = quantize(model, self.scheme, seen)
        if prune.is_pruned(model):
            warnings.warn(
                "the network is pruned, and quantized training moves weights that the masks hold at zero, too: "
                "prune what comes out again",
                stacklevel=2,
            )
        if self.initial == "uniform":
            for number, (weight, limit) in enumerate(limited_weights(quantized)):
                if weight.requires_grad:
                    weight.copy_(limit * (2 * rng.fold("initial", number).uniform(tuple(weight.shape))[0] - 1))
        return quantized
