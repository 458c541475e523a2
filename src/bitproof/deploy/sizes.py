"""How much room a model takes: as float values, and with its quantized weights packed."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bitproof.quant import freeze
from bitproof.quant.attached import INPUT_QUANTIZER, input_quantizer, weight_quantizer
from bitproof.quant.convert import quantized_layers
from bitproof.quant.quantizer import Quantizer
from bitproof.subjects.reach import parts


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
    """The sizes of a model that `quantize` made, whatever it is wrapped in, or of a float one: nothing to pack.

    The bits of a weight are those of the scheme, or more where its quantizer uses more levels (a piecewise grid of b
    bits takes b + 1).

    Example:
        >>> from bitproof.quant import Scheme, quantize
        >>> sizes(quantize(nn.Linear(100, 10), Scheme(weight_bits=4, act_bits=32, first="same", last="same")))
        Sizes(float_bytes=4040, packed_bytes=590)
    """
    frozen = freeze(model).state_dict()
    floats = sum(_bytes(t) for name, t in frozen.items() if t.is_floating_point() and f"{INPUT_QUANTIZER}." not in name)
    packed = floats
    for _, layer, here in quantized_layers(model):
        if (of_weight := weight_quantizer(layer)) is not None:
            packed += _packed(layer.weight, here.weight_bits) - _bytes(layer.weight)
            packed += _grids(of_weight, len(layer.weight))
        if (of_input := input_quantizer(layer)) is not None:
            packed += _grids(of_input, 1)
    return Sizes(float_bytes=floats, packed_bytes=packed)


def bytes_on_disk(model: nn.Module) -> int | None:
    """What a model takes, quantized weights packed; of a session, or what answers with one, its file. None for neither.

    Example:
        >>> bytes_on_disk(nn.Linear(100, 10)), bytes_on_disk(nn.Identity())
        (4040, None)
    """
    files = (getattr(part, "file", None) for _, part in parts(model))
    file = next((file for file in files if isinstance(file, Tensor)), None)
    return (sizes(model).packed_bytes if file is None else _bytes(file)) or None


def _packed(weight: Tensor, bits: int) -> int:
    rows = weight.flatten(1).sort(1).values
    levels = 1 + int((rows.diff(dim=1) != 0).sum(1).max()) if rows.shape[1] > 1 else 1
    return math.ceil(weight.numel() * min(32, max(bits, math.ceil(math.log2(levels)))) / 8)


def _grids(quantizer: Quantizer, channels: int) -> int:
    """Bytes of scales and zero points."""
    state = quantizer.state_dict().items()
    stored = sum(t.numel() * (1 if name == "zero_point" else 4) for name, t in state)
    return stored or 4 * quantizer.derived_scales(channels)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
