"""The table of quantization methods.

A method says which quantizer a layer's weight and a layer's input get. Adding one: a file with its
quantizers, and a line in `METHODS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bitproof.quant.dorefa import DoReFaActivations, DoReFaWeights
from bitproof.quant.grid import AffineQuantizer, Codes
from bitproof.quant.range_rules import RANGES
from bitproof.quant.ranges import Histogram, RangeSettings
from bitproof.quant.scheme import Scheme


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to quantize.

    Attributes:
        description: one line for people.
        weight_bits, act_bits: the bits it is defined for; 32 (float) is always allowed.
        weights: makes the quantizer of one layer's weight, from the float weight and the scheme.
        inputs: makes the quantizer of one layer's input.
        observe: sets up that quantizer from the histogram of what the layer receives on calibration images; None
            where the quantizer needs none.
    """

    description: str
    weight_bits: range
    act_bits: range
    weights: Callable[[Tensor, Scheme], nn.Module]
    inputs: Callable[[Scheme], nn.Module]
    observe: Callable[[nn.Module, Histogram, Scheme], None] | None = None


def _affine_weights(weight: Tensor, scheme: Scheme) -> nn.Module:
    by_channel = scheme.granularity == "channel"
    shape = (weight.shape[0], *[1] * (weight.dim() - 1)) if by_channel else ()
    codes = Codes.of(scheme.weight_bits, symmetric=scheme.symmetric)
    quantizer = AffineQuantizer(codes, symmetric=scheme.symmetric, shape=shape).to(weight.device)
    rows = weight.detach().flatten(1) if by_channel else weight.detach().reshape(1, -1)
    of_tensor, _ = RANGES[scheme.weight_range]
    settings = RangeSettings(bits=scheme.weight_bits, symmetric=scheme.symmetric, percentile=scheme.percentile)
    quantizer.set_range(*of_tensor(rows, settings))
    return quantizer


def _affine_inputs(scheme: Scheme) -> nn.Module:
    return AffineQuantizer(Codes.of(scheme.act_bits, symmetric=scheme.act_symmetric), symmetric=scheme.act_symmetric)


def _observe_affine(quantizer: nn.Module, histogram: Histogram, scheme: Scheme) -> None:
    assert isinstance(quantizer, AffineQuantizer)
    _, of_stream = RANGES[scheme.act_range]
    settings = RangeSettings(bits=scheme.act_bits, symmetric=scheme.act_symmetric, percentile=scheme.percentile)
    low, high = of_stream(histogram, settings)
    quantizer.set_range(torch.tensor(low), torch.tensor(high))


METHODS: dict[str, Method] = {
    "affine": Method(
        description="Uniform grid over the observed range, post-training.",
        weight_bits=range(2, 9),
        act_bits=range(2, 9),
        weights=_affine_weights,
        inputs=_affine_inputs,
        observe=_observe_affine,
    ),
    "dorefa": Method(
        description="DoReFa-Net's tanh weights and clipped activations, for training.",
        weight_bits=range(1, 9),
        act_bits=range(1, 9),
        weights=lambda weight, scheme: DoReFaWeights(scheme.weight_bits),
        inputs=lambda scheme: DoReFaActivations(scheme.act_bits),
    ),
}
