"""How much room a model takes: as float values, and with its quantized weights packed."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitproof.quant import freeze
from bitproof.quant.convert import INPUT_QUANTIZER, assigned
from bitproof.quant.xnor import XNORWeights


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Bytes on disk, without names and headers.

    Attributes:
        float_bytes: every parameter and buffer in its float type.
        packed_bytes: quantized weights with b bits each (rounded up to whole bytes a layer), 4 bytes a scale, 1 byte a
            zero point; what stays float (biases, batch norm) as it is.
    """

    float_bytes: int
    packed_bytes: int


@torch.no_grad()
def sizes(model: nn.Module) -> Sizes:
    """The sizes of a model that `quantize` made, or of a float one, which has nothing to pack.

    The bits of a weight are those of the scheme, or more where its quantizer uses more levels (a piecewise grid of b
    bits takes b + 1).

    Example:
        >>> from bitproof.quant import Scheme, quantize
        >>> sizes(quantize(nn.Linear(100, 10), Scheme(weight_bits=4, act_bits=32, first_last="same")))
        Sizes(float_bytes=4040, packed_bytes=590)
    """
    frozen = freeze(model).state_dict()
    floats = sum(_bytes(t) for name, t in frozen.items() if t.is_floating_point() and f"{INPUT_QUANTIZER}." not in name)
    packed = floats
    scheme = getattr(model, "scheme", None)
    for _, layer, here in assigned(model, scheme) if scheme else ():
        if parametrize.is_parametrized(layer, "weight"):
            quantizer = layer.parametrizations.weight[-1]
            packed += _packed(layer.weight, here.weight_bits) - _bytes(layer.weight)
            packed += _grids(quantizer, len(layer.weight))
        if here.act_bits < 32:
            packed += _grids(layer.get_submodule(INPUT_QUANTIZER), 1)
    return Sizes(float_bytes=floats, packed_bytes=packed)


def _packed(weight: Tensor, bits: int) -> int:
    rows = weight.flatten(1).sort(1).values
    levels = 1 + int((rows.diff(dim=1) != 0).sum(1).max()) if rows.shape[1] > 1 else 1
    return math.ceil(weight.numel() * min(32, max(bits, math.ceil(math.log2(levels)))) / 8)


def _grids(quantizer: nn.Module, channels: int) -> int:
    """Bytes of scales and zero points. Scales that follow from the float weights are not in the quantizer's state."""
    state = quantizer.state_dict().items()
    stored = sum(t.numel() * (1 if name == "zero_point" else 4) for name, t in state)
    return stored or 4 * (channels if isinstance(quantizer, XNORWeights) else 1)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
