"""Affine quantization: a uniform grid over the observed range (Jacob et al. 2018), the plain post-training method."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.quant.codes import Codes
from bitproof.quant.grid import AffineQuantizer, check_granularity, share_a_grid
from bitproof.quant.method import Method
from bitproof.quant.quantizer import InputQuantizer, WeightQuantizer
from bitproof.quant.range_rules import ACT_RANGES, DEFAULT_PERCENTILE, WEIGHT_RANGES, check_ranges
from bitproof.quant.ranges import Histogram, RangeSettings


@dataclass(frozen=True, kw_only=True)
class Affine(Method):
    """Uniform grid over the observed range, post-training.

    Attributes:
        granularity: one weight grid a "tensor" or one an output "channel"; activations have one a tensor.
        symmetric: weight grids symmetric around zero (2^b - 1 levels), else affine (2^b levels).
        act_symmetric: the same for activations.
        weight_range, act_range: the part of the values that the grid spans: a name in
            `bitproof.quant.range_rules.WEIGHT_RANGES` and `ACT_RANGES`.
        percentile: how many percent of the values lie inside a "percentile" range.
    """

    name = "affine"
    weight_bits = range(2, 9)
    act_bits = range(2, 9)
    observes = True

    granularity: str = "channel"
    symmetric: bool = True
    act_symmetric: bool = False
    weight_range: str = "minmax"
    act_range: str = "minmax"
    percentile: float = DEFAULT_PERCENTILE

    def __post_init__(self) -> None:
        check_granularity(self.granularity)
        check_ranges(weight_range=self.weight_range, act_range=self.act_range, percentile=self.percentile)

    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        span = RangeSettings(bits=bits, symmetric=self.symmetric, percentile=self.percentile)
        return affine_weights(weight, span, granularity=self.granularity, weight_range=self.weight_range)

    def inputs(self, bits: int, received: Histogram | None = None) -> InputQuantizer:
        span = RangeSettings(bits=bits, symmetric=self.act_symmetric, percentile=self.percentile)
        return affine_inputs(span, received, act_range=self.act_range)


def affine_weights(
    weight: Float[Tensor, "out ..."], span: RangeSettings, *, granularity: str, weight_range: str
) -> AffineQuantizer:
    """The quantizer of a weight whose grid spans the range that the rule gives."""
    rows, shape = share_a_grid(weight, granularity)
    codes = Codes.of(span.bits, symmetric=span.symmetric)
    quantizer = AffineQuantizer(codes, symmetric=span.symmetric, shape=shape).to(weight.device)
    quantizer.set_range(*WEIGHT_RANGES[weight_range](rows, span))
    return quantizer


def affine_inputs(span: RangeSettings, received: Histogram | None, *, act_range: str) -> AffineQuantizer:
    """The quantizer of a layer's input, whose grid spans the range that the rule gives for what the layer receives."""
    quantizer = AffineQuantizer(Codes.of(span.bits, symmetric=span.symmetric), symmetric=span.symmetric)
    if received is not None:
        low, high = ACT_RANGES[act_range](received, span)
        quantizer.set_range(torch.tensor(low), torch.tensor(high))
    return quantizer
