"""From quantizers to integers: the codes and scales of weights, and the grids of activations.

Integer kernels take value = scale * (code - zero point), in 8-bit storage, with zero on the grid (padding). Weights
need one zero point a tensor beside one scale a channel, which is why codes are kept centred here: zero has
code 0. Activations are stored unsigned, from code 0 on.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bitproof.errors import InputError
from bitproof.quant.attached import weight_quantizer
from bitproof.quant.codes import Codes
from bitproof.quant.grid import AffineQuantizer
from bitproof.quant.quantizer import InputQuantizer


@torch.no_grad()
def weight_codes(name: str, layer: Any) -> tuple[Int[Tensor, "out ..."], Float[Tensor, " out"]]:
    """Centred codes (int32) of a layer's quantized weight and the scale of each output channel: weight = scale * code.

    Args:
        name: of the layer, for errors.
        layer: one whose weight is quantized.

    Raises:
        InputError: the weight's quantizer has no integer form.
    """
    weight, quantizer = layer.weight, weight_quantizer(layer)
    assert quantizer is not None
    scale = quantizer.code_scale(weight)
    if isinstance(scale, str):
        raise _refused(name, quantizer, scale)
    scale = scale.cpu().to(torch.float32)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale)).reshape(-1)
    scale = scale.expand(weight.shape[0]).contiguous()
    along = scale.view(-1, *[1] * (weight.dim() - 1))
    codes = (weight.cpu() / along).round()
    assert torch.allclose(codes * along, weight.cpu(), rtol=1e-4, atol=0), name
    return codes.int(), scale


def stored(codes: Int[Tensor, "out ..."]) -> tuple[Int[Tensor, "out ..."], int] | None:
    """Centred codes as int8 and their common zero point, or None where they do not fit."""
    low, high = int(codes.min()), int(codes.max())
    zero_point = 0 if low >= -128 and high <= 127 else -128 - low
    fits = high + zero_point <= 127 and -128 <= zero_point <= 127
    return ((codes + zero_point).to(torch.int8), zero_point) if fits else None


@torch.no_grad()
def input_grid(name: str, quantizer: InputQuantizer) -> AffineQuantizer:
    """The grid of a layer's inputs, with codes from 0 on.

    Raises:
        InputError: the quantizer has no integer form.
    """
    known = quantizer.code_grid()
    if isinstance(known, str):
        raise _refused(name, quantizer, known)
    return grid(known.scale, known.zero_point - known.codes.qmin, known.codes.qmax - known.codes.qmin)


def grid(scale: Tensor | float, zero_point: Tensor | int, top: int) -> AffineQuantizer:
    """The grid of codes 0..top."""
    made = AffineQuantizer(Codes(qmin=0, qmax=top), symmetric=False)
    made.scale.fill_(torch.as_tensor(scale).detach().cpu())
    made.zero_point.fill_(torch.as_tensor(zero_point).cpu())
    return made


def same_grid(one: AffineQuantizer, other: AffineQuantizer) -> bool:
    """Whether both round every number to the same value."""
    return (
        one.codes == other.codes
        and torch.equal(one.scale, other.scale)
        and torch.equal(one.zero_point, other.zero_point)
    )


def _refused(name: str, quantizer: nn.Module, reason: str) -> InputError:
    return InputError(
        f"layer {name!r} cannot run on integers ({type(quantizer).__name__})",
        rule=reason,
        remedy="Quantize with affine, lsq, pact, dorefa, binaryconnect, xnor or twn",
    )
