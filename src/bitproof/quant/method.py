"""What a quantization method is: a value that says which quantizer a layer's weight and its input get."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from bitproof.quant.ranges import Histogram
from bitproof.quant.scheme import Scheme


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to quantize.

    Attributes:
        description: one line for people.
        weight_bits, act_bits: the bits it is defined for; 32 (float) is always allowed. An empty range: float only.
        weights: makes the quantizer of one layer's weight, from the float weight and the scheme.
        inputs: makes the quantizer of one layer's input; None where `act_bits` is empty.
        observe: sets up that quantizer from the histogram of what the layer receives on calibration images; None
            where the quantizer needs none.
        grad_bits: the bits it is defined for of gradients in training. An empty range: float only.
        gradients: makes the module that quantizes the gradient of one layer's output, from its float weight.
    """

    description: str
    weight_bits: range
    act_bits: range
    weights: Callable[[Tensor, Scheme], nn.Module]
    inputs: Callable[[Scheme], nn.Module] | None = None
    observe: Callable[[nn.Module, Histogram, Scheme], None] | None = None
    grad_bits: range = range(0)
    gradients: Callable[[Tensor, Scheme], nn.Module] | None = None
