"""Quantization-aware training: the quantizers are in place while the weights are learned."""

from dataclasses import dataclass

from torch import nn

from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.quant import Scheme, quantize


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How the copy that is trained is quantized.

    Attributes:
        scheme: which quantizers go where.
        calibration: number of training images that set activation ranges, and learned steps to start from, before
            training.
    """

    scheme: Scheme
    calibration: int = 512

    def __post_init__(self) -> None:
        if self.calibration < 1:
            raise InputError(
                f"calibration is {self.calibration}", rule="it is a number of images, at least 1", remedy="Use 512"
            )

    def __call__(self, model: nn.Module, data: Data) -> nn.Module:
        """A quantized copy of the float `model`, calibrated on the first images of `data`."""
        count = min(self.calibration, len(data))
        images = [data.images(range(i, min(i + 128, count))) for i in range(0, count, 128)]
        return quantize(model, self.scheme, images)
