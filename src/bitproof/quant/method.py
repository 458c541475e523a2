"""What a quantization method is: the settings of a paper, which make the quantizers of one layer."""

import abc
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.quant.quantizer import InputQuantizer, WeightQuantizer
from bitproof.quant.ranges import Histogram


@dataclass(frozen=True, kw_only=True)
class Method(abc.ABC):
    """One way to quantize. Its fields are what the method has to set, and nothing that means nothing to it.

    Attributes:
        name: what the command line calls it.
        weight_bits, act_bits, grad_bits: the bits it is defined for, of weights, of layers' inputs and of the gradients
            of their outputs; 32 (float) is always allowed. An empty range: float only.
        observes: whether its input quantizers are set up from what layers receive on calibration images.
    """

    name: ClassVar[str]
    weight_bits: ClassVar[range]
    act_bits: ClassVar[range] = range(0)
    grad_bits: ClassVar[range] = range(0)
    observes: ClassVar[bool] = False

    @abc.abstractmethod
    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        """The quantizer of a layer's weight, made for this float weight."""

    def inputs(self, bits: int, received: Histogram | None = None) -> InputQuantizer:
        """The quantizer of a layer's input; never asked for where `act_bits` is empty.

        Args:
            bits: of the input.
            received: what the layer receives on calibration images. None leaves what is set from it to a state dict.
        """
        raise NotImplementedError(f"{self.name} leaves activations float")

    def gradients(self, weight: Float[Tensor, "out ..."], bits: int) -> nn.Module:
        """What passes a layer's output on and quantizes its gradient; never asked for where `grad_bits` is empty."""
        raise NotImplementedError(f"{self.name} leaves gradients float")
