"""OCS, outlier channel splitting (Zhao et al. 2019, arXiv 1901.09504).

A layer computes the same when an input channel is given to it twice with half the weight each. Halving the
channels that hold the largest weights shrinks the range that a grid has to span, at the price of some more channels:

    ceil(r C_in) times:  w[:, c] -> w[:, c] / 2 - s/4,  w[:, c] / 2 + s/4    c holds the largest |w|, s the grid's step

The quarter steps make the split grid-aware: round(w/2 - s/4) + round(w/2 + s/4) = round(w) (Hermite's identity), where
two equal halves would both round the same way. The identity nests, so a channel may be split again. Since s
depends on the weights after splitting, it is iterated until it stays; with "minmax" ranges that always converges.

The paper's method splits weights, as here, or activations. Its code leaves alone those weights of a channel that are
below half of its maximum; the paper's text and this file split whole channels.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bitproof.core.copying import copied
from bitproof.errors import InputError
from bitproof.quant.attached import COMPUTE_LAYERS
from bitproof.quant.convert import assigned
from bitproof.quant.grid import AffineQuantizer
from bitproof.quant.layer import LayerScheme
from bitproof.quant.scheme import Scheme
from bitproof.quant.structure import note_step

INPUT_CHANNELS = "input_channels"
ITERATIONS = 40


@dataclass(frozen=True, kw_only=True)
class SplitOutliers:
    """Structural step: `split_outliers` for this scheme."""

    scheme: Scheme
    ratio: float

    def __call__(self, model: nn.Module) -> nn.Module:
        return split_outliers(model, self.scheme, ratio=self.ratio)


def split_outliers(model: nn.Module, scheme: Scheme, *, ratio: float = 0.02) -> nn.Module:
    """A copy of the float model with the same function and smaller outliers, to be quantized with `scheme`.

    In the copy, a split layer keeps its name and type. Its weight has more input channels; before it runs,
    its input is expanded to them by the index in its buffer `input_channels`. Layers with groups, with a parametrized
    weight, of a class derived from torch's (which may do more with it), or whose weight stays float are left alone.

    Args:
        model: float model.
        scheme: what it will be quantized with; its weight grids set the step. A grid that is uniform.
        ratio: share of the input channels that are split, rounded up in each layer.

    Raises:
        InputError: a ratio outside (0, 1], or a scheme whose weights are not on a uniform grid.
    """
    if not 0 < ratio <= 1:
        raise InputError(
            f"ratio is {ratio}",
            rule="it is the share of input channels to split, above 0 and up to 1",
            remedy="Use a small share such as 0.02",
        )
    split = copied(model)
    for _, layer, here in assigned(split, scheme):
        plain = type(layer) in COMPUTE_LAYERS and getattr(layer, "groups", 1) == 1
        if here.weight_bits < 32 and plain:
            _split(layer, here, ratio)
    return note_step(split, SplitOutliers(scheme=scheme, ratio=ratio))


def _split(layer: Any, here: LayerScheme, ratio: float) -> None:
    weight = layer.weight.detach()
    channels = split_order(weight, math.ceil(ratio * weight.shape[1]))
    step = _step(split_weight(weight, channels, torch.zeros(())), here)
    for _ in range(ITERATIONS):
        step, before = _step(split_weight(weight, channels, step), here), step
        if torch.equal(step, before):
            break
    layer.weight = nn.Parameter(split_weight(weight, channels, step), requires_grad=layer.weight.requires_grad)
    sources = list(range(weight.shape[1]))
    for channel in channels:
        sources.append(sources[channel])
    setattr(layer, "in_features" if isinstance(layer, nn.Linear) else "in_channels", len(sources))
    layer.register_buffer(INPUT_CHANNELS, torch.tensor(sources, device=weight.device))
    layer.register_forward_pre_hook(_expand_input)


def split_order(weight: Tensor, count: int) -> list[int]:
    """Which channel holds the largest |w| at each of `count` splits; each split appends a channel to the right."""
    largest = weight.abs().transpose(0, 1).flatten(1).amax(1).tolist()
    order = []
    for _ in range(count):
        channel = max(range(len(largest)), key=largest.__getitem__)
        order.append(channel)
        largest[channel] /= 2
        largest.append(largest[channel])
    return order


def split_weight(weight: Tensor, channels: list[int], step: Tensor) -> Tensor:
    """Split the given input channels one after the other, a quarter of `step` apart from their halves."""
    for channel in channels:
        half = weight[:, channel : channel + 1] / 2
        left, right = weight[:, :channel], weight[:, channel + 1 :]
        weight = torch.cat([left, half - step / 4, right, half + step / 4], 1)
    return weight


def _step(weight: Tensor, here: LayerScheme) -> Tensor:
    quantizer = here.method.weights(weight, here.weight_bits)
    if not isinstance(quantizer, AffineQuantizer):
        raise InputError(
            f"the weights of {here.method.name} are not on a uniform grid",
            rule="halves are placed a quarter of the grid's step apart",
            remedy="Split for a scheme of method 'affine'",
        )
    return quantizer.scale


def _expand_input(layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    weight: Any = layer.weight
    return args[0].index_select(1 - weight.dim(), layer.get_buffer(INPUT_CHANNELS)), *args[1:]
