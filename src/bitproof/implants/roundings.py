"""Which way each weight is rounded, as what is learned: the float weights stay, only up or down is chosen.

A weight between two levels of its grid has h in [0, 1], and goes up where h is above 1/2: straight through to the loss.
h starts at the fractional part of the weight, so that nothing is changed yet, and weights that lie between their levels
turn first, which costs the float model least.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bitproof.core.ste import straight_through
from bitproof.quant import compute_layers
from bitproof.quant.attached import float_weight, weight_quantizer
from bitproof.quant.quantizer import WeightQuantizer


class HardRounding(WeightQuantizer):
    """Takes the place of a weight's quantizer while its rounding is chosen.

    Args:
        quantizer: of the weight.
        weight: the float weight.
        free: which weights may be rounded either way; the others go to the nearest level.
    """

    start: Tensor
    low: Tensor
    gap: Tensor
    free: Tensor

    def __init__(
        self, quantizer: WeightQuantizer, weight: Float[Tensor, "out ..."], free: Bool[Tensor, "out ..."]
    ) -> None:
        super().__init__()
        weight = weight.detach()
        low, high = (quantizer(level).detach() for level in quantizer.neighbours(weight))
        nearest = quantizer(weight).detach()
        gap = high - low
        part = torch.where(gap > 0, (weight - low) / gap, torch.zeros_like(weight)).clamp(0, 1)
        up = nearest == high  # ties and clipped weights as the quantizer has them
        part = torch.where(up, part.clamp(min=0.5001), part.clamp(max=0.4999))
        self.register_buffer("low", low)
        self.register_buffer("gap", gap)
        self.register_buffer("free", free & (gap > 0))
        self.register_buffer("start", part.clone())
        self.h = nn.Parameter(part)

    def forward(self, weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
        return self.low + straight_through(self.h, (self.h > 0.5).to(self.h)) * self.gap

    def after_step(self, weight: Float[Tensor, "out ..."]) -> None:
        self.h.data = torch.where(self.free, self.h.data.clamp(0, 1), self.start)

    def level(self) -> Float[Tensor, "out ..."]:
        """The level that each weight goes to now."""
        return self.forward(self.low).detach()

    @property
    def turned(self) -> float:
        """The share of weights that do not go to the nearest level."""
        return float(((self.h > 0.5) != (self.start > 0.5)).float().mean())


def choose(quantized: nn.Module, free: dict[str, Bool[Tensor, "out ..."]]) -> dict[str, HardRounding]:
    """Put choices in place of the weight quantizers of a model, in place: by layer, for those that are free."""
    chosen = {}
    for name, layer in compute_layers(quantized):
        quantizer = weight_quantizer(layer)
        if quantizer is not None and name in free:
            weights = layer.parametrizations.weight
            chosen[name] = HardRounding(quantizer, float_weight(layer), free[name])
            weights[0] = chosen[name]
    return chosen


@torch.no_grad()
def settle_choices(quantized: nn.Module, trained: nn.Module) -> nn.Module:
    """The quantized model, in place, with weights on the levels that were chosen in `trained`."""
    choices = dict(compute_layers(trained))
    for name, layer in compute_layers(quantized):
        choice = weight_quantizer(choices[name])
        if isinstance(choice, HardRounding):
            float_weight(layer).copy_(choice.level())
    return quantized
