"""Cross-layer equalisation (Nagel et al. 2019, arXiv 1906.04721, Section 4.1).

ReLU(s x) = s ReLU(x) for s > 0, so a channel between two layers may be scaled: the function stays,
and the ranges r1 (of the row of weights that makes the channel) and r2 (of the weights that take it) meet:

    s = sqrt(r1 r2) / r2    W1 <- W1 / s    b1 <- b1 / s    W2 <- W2 s    both ranges become sqrt(r1 r2)    Eq. 7, 11

Layers share pairs, so it is repeated until nothing moves. It evens out per-tensor weight grids; per-channel
grids gain little.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitproof.core.copying import copied
from bitproof.ptq.flow import record_flow
from bitproof.quant.attached import compute_layers

SWEEPS = 100
TOLERANCE = 1e-4


@torch.no_grad()
def equalize(model: nn.Module, images: Tensor) -> nn.Module:
    """A copy with the same function whose neighbouring layers have equal ranges, channel by channel.

    Pairs are two compute layers with nothing but a ReLU (module or function) between them, and no branch.
    A BatchNorm is in the way: fold it first.

    Args:
        model: float model.
        images: a few images [n, c, h, w] that it takes, to see what follows what.
    """
    equalized = copied(model)
    pairs = [tuple(map(equalized.get_submodule, names)) for names in equalizable_pairs(model, images)]
    for _ in range(SWEEPS):
        if all([_equalize(*pair) < TOLERANCE for pair in pairs]):
            break
    return equalized


def equalizable_pairs(model: nn.Module, images: Tensor) -> list[tuple[str, str]]:
    """Names of layers that feed another one through a ReLU, and of those that they feed."""
    layers = {name: layer for name, layer in compute_layers(model) if not parametrize.is_parametrized(layer)}
    flow = record_flow(model, images, list(layers))
    takers = {call[0]: name for name in layers if (call := flow.only_call(name))}
    pairs = []
    for name in layers:
        call = flow.only_call(name)
        relu = call and flow.only_use(call[1])
        if relu and relu.function in ("relu", "relu_") and flow.only_use(relu.output) and relu.output in takers:
            pairs.append((name, takers[relu.output]))
    return pairs


def _equalize(first: Any, second: Any) -> float:
    """Scale one pair in place; how far the largest scale is from 1."""
    of_first, of_second = output_ranges(first), input_ranges(second)
    used = (of_first > 0) & (of_second > 0)
    scale = torch.where(used, (of_first / of_second).sqrt(), torch.ones_like(of_first))
    first.weight.div_(scale.view(-1, *[1] * (first.weight.dim() - 1)))
    if first.bias is not None:
        first.bias.div_(scale)
    by_group = scale.view(getattr(second, "groups", 1), -1).repeat_interleave(
        len(second.weight) // getattr(second, "groups", 1), 0
    )
    second.weight.mul_(by_group.view(*by_group.shape, *[1] * (second.weight.dim() - 2)))
    return (scale - 1).abs().max().item()


def output_ranges(layer: Any) -> Float[Tensor, " channels"]:
    """The largest |w| that makes each output channel."""
    return layer.weight.abs().flatten(1).amax(1)


def input_ranges(layer: Any) -> Float[Tensor, " channels"]:
    """The largest |w| that takes each input channel."""
    groups = getattr(layer, "groups", 1)
    weight = layer.weight.abs().reshape(groups, len(layer.weight) // groups, layer.weight.shape[1], -1)
    return weight.amax((1, 3)).flatten()
