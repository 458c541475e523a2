"""The table of quantization methods.

A method says which quantizer a layer's weight and a layer's input get. Adding one: a file with its
quantizers, and a line in `METHODS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bitproof.quant.bounded import BoundedActivations, TanhActivations
from bitproof.quant.dorefa import DoReFaActivations, DoReFaWeights
from bitproof.quant.grid import AffineQuantizer, Codes
from bitproof.quant.pwlq import PwlqWeights, top_range
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


def _pwlq(breakpoint: str, description: str, *, overlapping: bool = False) -> Method:
    def weights(weight: Tensor, scheme: Scheme) -> nn.Module:
        return PwlqWeights(
            weight,
            bits=scheme.weight_bits,
            breakpoint=breakpoint,
            overlapping=overlapping,
            by_channel=scheme.granularity == "channel",
        )

    def observe(quantizer: nn.Module, histogram: Histogram, scheme: Scheme) -> None:
        assert isinstance(quantizer, AffineQuantizer)
        low, high = top_range(histogram)
        quantizer.set_range(torch.tensor(low), torch.tensor(high))

    return Method(
        description=f"Piecewise linear weights of 2^(b+1) levels, post-training; {description}.",
        weight_bits=range(2, 9),
        act_bits=range(2, 9),
        weights=weights,
        inputs=_affine_inputs,
        observe=observe,
    )


def _fixed_range(inputs: Callable[[Scheme], nn.Module], description: str) -> Method:
    return Method(
        description=description,
        weight_bits=range(2, 9),
        act_bits=range(1, 9),
        weights=_affine_weights,
        inputs=inputs,
    )


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
    "pwlq": _pwlq("search", "breakpoint searched"),
    "pwlq-gauss": _pwlq("gauss", "breakpoint for normal weights"),
    "pwlq-laplace": _pwlq("laplace", "breakpoint for Laplace weights"),
    "pwlq-overlapping": _pwlq("search", "pieces overlap, breakpoint searched", overlapping=True),
    "relu6": _fixed_range(
        lambda scheme: BoundedActivations(scheme.act_bits, 6.0), "Activations on [0, 6], for training; affine weights."
    ),
    "relu1": _fixed_range(
        lambda scheme: BoundedActivations(scheme.act_bits, 1.0), "Activations on [0, 1], for training; affine weights."
    ),
    "tanh": _fixed_range(
        lambda scheme: TanhActivations(scheme.act_bits, dynamic=False),
        "Activations through a quantized tanh, which masks gradients; affine weights.",
    ),
    "tanh-dynamic": _fixed_range(
        lambda scheme: TanhActivations(scheme.act_bits, dynamic=True),
        "Activations through a quantized tanh of learned width, which masks gradients; affine weights.",
    ),
}
