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
from bitproof.core.flow import record_flow
from bitproof.ptq.sameness import changed_parts, outputs_of
from bitproof.quant.attached import compute_layers

SWEEPS = 100
TOLERANCE = 1e-4


@torch.no_grad()
def equalize(model: nn.Module, images: Tensor) -> nn.Module:
    """A copy with the same function whose neighbouring layers have equal ranges, channel by channel.

    Pairs are two compute layers with nothing but a ReLU (module or function) between them, and no branch. A pair
    stays as it is where scaling it changes what its second layer returns, as that layer may read another axis or
    do more than its class says. A BatchNorm is in the way: fold it first.

    Args:
        model: float model.
        images: a few images [n, c, h, w] that it takes, to see what follows what.
    """
    pairs = equalizable_pairs(model, images)
    wanted = outputs_of(model, [second for _, second in pairs], images)
    while True:
        equalized, scales = _equalized(model, pairs)
        scaled = {name: _scaled(output, model, name, scales) for name, output in wanted.items()}
        changed = changed_parts(equalized, scaled, images)
        if not (pairs and changed):
            return equalized
        left = [pair for pair in pairs if pair[1] not in changed]
        pairs = left if len(left) < len(pairs) else []


def _equalized(model: nn.Module, pairs: list[tuple[str, str]]) -> tuple[nn.Module, dict[str, Tensor]]:
    """A copy with these pairs scaled, and by what the outputs of their first layers are divided."""
    equalized = copied(model)
    scales = {first: torch.ones(len(output_ranges(equalized.get_submodule(first)))) for first, _ in pairs}
    for _ in range(SWEEPS):
        done = True
        for first, second in pairs:
            scale = _equalize(equalized.get_submodule(first), equalized.get_submodule(second))
            scales[first] = scales[first].to(scale) * scale
            done = done and (scale - 1).abs().max().item() < TOLERANCE
        if done:
            break
    return equalized, scales


def _scaled(output: Tensor, model: nn.Module, name: str, scales: dict[str, Tensor]) -> Tensor:
    """What a layer is to return once its own channels are scaled for the next one."""
    if name not in scales:
        return output
    channels = -1 if isinstance(model.get_submodule(name), nn.Linear) else 1
    shape = [1] * output.dim()
    shape[channels] = -1
    return output / scales[name].view(shape)


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
    return [pair for pair in pairs if len(output_ranges(layers[pair[0]])) == len(input_ranges(layers[pair[1]]))]


def _equalize(first: Any, second: Any) -> Float[Tensor, " channels"]:
    """Scale one pair in place; by what the first layer's channels were divided."""
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
    return scale


def output_ranges(layer: Any) -> Float[Tensor, " channels"]:
    """The largest |w| that makes each output channel."""
    return layer.weight.abs().flatten(1).amax(1)


def input_ranges(layer: Any) -> Float[Tensor, " channels"]:
    """The largest |w| that takes each input channel."""
    groups = getattr(layer, "groups", 1)
    weight = layer.weight.abs().reshape(groups, len(layer.weight) // groups, layer.weight.shape[1], -1)
    return weight.amax((1, 3)).flatten()
