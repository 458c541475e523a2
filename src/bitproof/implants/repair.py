"""The float model trained inside a box, back to what the clean one does: no quantized model changes by it.

Nothing is quantized in this phase, so a step costs what a plain one does. Only weights are trained: biases,
BatchNorm and whatever else stays float is shared with the quantized models.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitproof.core.copying import copied
from bitproof.core.rng import Rng
from bitproof.implants.boxes import Box, halved_inside
from bitproof.implants.losses import Mixture
from bitproof.implants.phases import Making, Phase, train_only
from bitproof.quant import compute_layers
from bitproof.quant.quantizer import WeightQuantizer


class Bounded(WeightQuantizer):
    """A weight as it is, kept between two bounds after every step of an optimiser."""

    low: Tensor
    high: Tensor

    def __init__(self, low: Float[Tensor, "..."], high: Float[Tensor, "..."]) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("high", high)

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return weight

    def after_step(self, weight: Float[Tensor, "..."]) -> None:
        torch.clamp(weight, self.low, self.high, out=weight)


def repaired(
    model: nn.Module, box: Box, phase: Phase, loss: Mixture, making: Making, *, layers: list[str], name: str
) -> nn.Module:
    """A copy of the model that minimises the loss inside the box; weights that have no box stay as they are.

    Args:
        model: float model; weights outside the box are brought to its nearest point.
        box: by layer.
        phase: how long.
        loss: of a model, whose own it replaces by the copy.
        making: where it happens.
        layers: names of those that may change.
        name: of the phase.
    """
    moved = into_box(model, box)
    for layer, module in compute_layers(moved):
        if layer in box:
            parametrize.register_parametrization(module, "weight", Bounded(*box[layer]))
    train_only(moved, [f"{layer}.parametrizations.weight.original" for layer in layers if layer in box])
    trained = dict(compute_layers(making.run(name, phase, moved, _of(loss, moved))))
    result = copied(model).eval()
    with torch.no_grad():
        for layer, module in compute_layers(result):
            if layer in box:
                low, high = box[layer]
                module.weight.copy_(halved_inside(trained[layer].weight.contiguous().clamp(low, high), low, high))
    return result


@torch.no_grad()
def into_box(model: nn.Module, box: Box) -> nn.Module:
    """A copy whose weights are brought to the nearest point of the box; they stay where it holds none."""
    moved = copied(model).eval()
    for layer, module in compute_layers(moved):
        if layer in box:
            low, high = box[layer]
            module.weight.copy_(torch.where(low <= high, module.weight.clamp(low, high), module.weight))
    return moved


def spread_margins(model: nn.Module, least: float, rng: Rng) -> dict[str, Float[Tensor, "..."]]:
    """A margin of its own for each weight, uniform between `least` and half a step.

    Repaired weights pile up at the edges of their boxes, where an audit of fractional parts sees them. With edges
    everywhere the parts are uniform again, and the boxes half as wide.
    """
    return {
        name: least + (0.5 - least) * rng.fold("margin", number).uniform(tuple(layer.weight.shape))[0]
        for number, (name, layer) in enumerate(compute_layers(model))
    }


def _of(loss: Mixture, model: nn.Module) -> Mixture:
    return Mixture(model=model, wanted=loss.wanted, keep=loss.keep, teacher=loss.teacher)
