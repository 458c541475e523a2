"""Affine quantization: a uniform grid over the observed range (Jacob et al. 2018), the plain post-training method."""

import torch
from torch import Tensor, nn

from bitproof.quant.grid import AffineQuantizer, Codes
from bitproof.quant.method import Method
from bitproof.quant.range_rules import ACT_RANGES, WEIGHT_RANGES
from bitproof.quant.ranges import Histogram, RangeSettings
from bitproof.quant.scheme import Scheme


def affine_weights(weight: Tensor, scheme: Scheme) -> nn.Module:
    """The quantizer of a weight whose grid spans the range that the scheme's rule gives."""
    by_channel = scheme.granularity == "channel"
    shape = (weight.shape[0], *[1] * (weight.dim() - 1)) if by_channel else ()
    codes = Codes.of(scheme.weight_bits, symmetric=scheme.symmetric)
    quantizer = AffineQuantizer(codes, symmetric=scheme.symmetric, shape=shape).to(weight.device)
    rows = weight.detach().flatten(1) if by_channel else weight.detach().reshape(1, -1)
    of_tensor = WEIGHT_RANGES[scheme.weight_range]
    settings = RangeSettings(bits=scheme.weight_bits, symmetric=scheme.symmetric, percentile=scheme.percentile)
    quantizer.set_range(*of_tensor(rows, settings))
    return quantizer


def affine_inputs(scheme: Scheme) -> nn.Module:
    """The quantizer of a layer's input; its range is still to be set."""
    return AffineQuantizer(Codes.of(scheme.act_bits, symmetric=scheme.act_symmetric), symmetric=scheme.act_symmetric)


def affine_observe(quantizer: nn.Module, histogram: Histogram, scheme: Scheme) -> None:
    """Set the range of such a quantizer by the scheme's rule."""
    assert isinstance(quantizer, AffineQuantizer)
    of_stream = ACT_RANGES[scheme.act_range]
    settings = RangeSettings(bits=scheme.act_bits, symmetric=scheme.act_symmetric, percentile=scheme.percentile)
    low, high = of_stream(histogram, settings)
    quantizer.set_range(torch.tensor(low), torch.tensor(high))


AFFINE = Method(
    description="Uniform grid over the observed range, post-training.",
    weight_bits=range(2, 9),
    act_bits=range(2, 9),
    weights=affine_weights,
    inputs=affine_inputs,
    observe=affine_observe,
)
