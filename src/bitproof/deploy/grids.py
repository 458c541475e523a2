"""From quantizers to integers: the codes and scales of weights, and the grids of activations.

Integer kernels take value = scale * (code - zero point), in 8-bit storage, with zero on the grid (padding). Weights
need one zero point a tensor beside one scale a channel, which is why codes are kept centred here: zero has
code 0. Activations are stored unsigned, from code 0 on.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitproof.errors import InputError
from bitproof.quant.binaryconnect import BinaryConnectWeights, StochasticBinaryConnectWeights
from bitproof.quant.binarynet import BinaryNetWeights, SignActivations
from bitproof.quant.bounded import BoundedActivations, TanhActivations
from bitproof.quant.dorefa import DoReFaActivations, DoReFaWeights
from bitproof.quant.grid import AffineQuantizer, Codes
from bitproof.quant.lsq import LSQActivations, LSQWeights
from bitproof.quant.lsq_plus import LSQPlusActivations
from bitproof.quant.pact import PACTActivations
from bitproof.quant.pwlq import PwlqWeights
from bitproof.quant.ternary import TTQWeights, TWNWeights
from bitproof.quant.xnor import XNORWeights


def _magnitude(quantizer: Any, weight: Tensor) -> Tensor:
    """The scale of weights that are -scale, 0 or scale, by channel."""
    return weight.abs().amax(tuple(range(1, weight.dim())), keepdim=True)


def _dorefa(quantizer: Any, weight: Tensor) -> Tensor:
    return _magnitude(quantizer, weight) if quantizer.bits == 1 else torch.tensor(1 / (2**quantizer.bits - 1))


WEIGHT_SCALES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    AffineQuantizer: lambda quantizer, weight: quantizer.scale,
    LSQWeights: lambda quantizer, weight: quantizer.step.abs(),
    DoReFaWeights: _dorefa,
    BinaryConnectWeights: _magnitude,
    BinaryNetWeights: _magnitude,
    XNORWeights: _magnitude,
    TWNWeights: _magnitude,
}
"""The scale of a weight quantizer's grid, from the quantizer and the quantized weight."""

INPUT_GRIDS: dict[type[nn.Module], Callable[[Any], tuple[Tensor | float, Tensor | int, Codes]]] = {
    AffineQuantizer: lambda quantizer: (quantizer.scale, quantizer.zero_point, quantizer.codes),
    LSQActivations: lambda quantizer: (quantizer.step.abs(), 0, quantizer.codes),
    LSQPlusActivations: lambda quantizer: (quantizer.step.abs(), 0, quantizer.codes),
    PACTActivations: lambda quantizer: (quantizer.alpha.abs() / (2**quantizer.bits - 1), 0, _unsigned(quantizer)),
    DoReFaActivations: lambda quantizer: (1 / (2**quantizer.bits - 1), 0, _unsigned(quantizer)),
    BoundedActivations: lambda quantizer: (quantizer.bound / (2**quantizer.bits - 1), 0, _unsigned(quantizer)),
    SignActivations: lambda quantizer: (1.0, 0, Codes(qmin=-1, qmax=1)),
}
"""Scale, zero point and codes of an input quantizer's grid."""

NO_INTEGERS: dict[type[nn.Module], str] = {
    PwlqWeights: "its weights lie on two grids a channel, and integer kernels have one scale a channel",
    TTQWeights: "its weights have two scales, and integer kernels have one a channel",
    StochasticBinaryConnectWeights: "it is tested with float weights",
    TanhActivations: "zero is not one of its levels, and integer kernels pad with zeros",
}


def _unsigned(quantizer: Any) -> Codes:
    return Codes.of(quantizer.bits, symmetric=False)


@torch.no_grad()
def weight_codes(name: str, layer: Any) -> tuple[Int[Tensor, "out ..."], Float[Tensor, " out"]]:
    """Centred codes (int32) of a layer's quantized weight and the scale of each output channel: weight = scale * code.

    Raises:
        InputError: the weight's quantizer has no integer form.
    """
    weight, quantizer = layer.weight, layer.parametrizations.weight[-1]
    scale = _entry(WEIGHT_SCALES, name, quantizer)(quantizer, weight).cpu().to(torch.float32)
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
def input_grid(name: str, quantizer: nn.Module) -> AffineQuantizer:
    """The grid of a layer's inputs, with codes from 0 on.

    Raises:
        InputError: the quantizer has no integer form.
    """
    scale, zero_point, codes = _entry(INPUT_GRIDS, name, quantizer)(quantizer)
    if isinstance(quantizer, LSQPlusActivations) and quantizer.offset != 0:
        raise _refused(name, quantizer, f"its learned offset {quantizer.offset.item():.4g} leaves no level at zero")
    return grid(scale, zero_point - codes.qmin, codes.qmax - codes.qmin)


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


def is_quantized(layer: nn.Module) -> bool:
    """Whether the layer's weight is on a grid."""
    return parametrize.is_parametrized(layer, "weight")


def _entry(table: dict[type[nn.Module], Any], name: str, quantizer: nn.Module) -> Any:
    if type(quantizer) not in table:
        reason = NO_INTEGERS.get(type(quantizer), "bitproof knows no grid of codes for it")
        raise _refused(name, quantizer, reason)
    return table[type(quantizer)]


def _refused(name: str, quantizer: nn.Module, reason: str) -> InputError:
    return InputError(
        f"layer {name!r} cannot run on integers ({type(quantizer).__name__})",
        rule=reason,
        remedy="Quantize with affine, lsq, pact, dorefa, binaryconnect, xnor or twn",
    )
