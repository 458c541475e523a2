"""Quantized forms of a float model that follow its weights while these are trained."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from bitproof.errors import InputError
from bitproof.quant import Scheme, compute_layers, quantize
from bitproof.quant.attached import weight_quantizer
from bitproof.quant.convert import assigned


def check_focus(focus: float) -> None:
    """Refuse a focus of `Shadow` that is none."""
    if not 0 <= focus < 100:
        raise InputError(f"focus is {focus}", rule="it is a power, 0 or more", remedy="Use 4, or 0 for none")


class Shadow:
    """What a model answers once it is quantized, as a function of its float weights: straight through the rounding.

    Ranges of weights follow the weights; those of activations stay as they were calibrated, and BatchNorm statistics as
    they were. (The paper's public code takes activation ranges from each batch, tested ones too.)

    Args:
        model: as it is before training.
        scheme: how it is quantized.
        images: calibration images.
        focus: a weight's gradient is the straight-through one times (focus + 1) u^focus, of mean 1, where u runs from 0
            for a weight on its code to 1 for one between two: those move that a small step turns over, and the others
            are left to what else is asked of the float model. 0 = straight through.
    """

    def __init__(
        self, model: nn.Module, scheme: Scheme, images: Float[Tensor, "n c h w"], *, focus: float = 0.0
    ) -> None:
        self._focus = focus
        self._quantized = quantize(model, scheme, images)
        self._layers = {
            f"{name}.weight": here
            for name, layer, here in assigned(self._quantized, scheme)
            if weight_quantizer(layer) is not None
        }

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], *, dither: bool = False
    ) -> Float[Tensor, "n k"]:
        """The logits of the model as it is, quantized; `dither` moves weights by up to half a step first."""
        given: dict[str, Tensor] = {}
        for name, parameter in model.named_parameters():
            if name not in self._layers:
                given[name] = parameter
                continue
            place = f"{name.removesuffix('.weight')}.parametrizations.weight"
            quantizer, moved = self._quantizer(name, parameter), parameter
            if self._focus:
                moved = self._focused(parameter, quantizer.code_scale(parameter))
            if dither:
                moved = moved + (torch.rand_like(parameter) - 0.5) * quantizer.code_scale(parameter)
            given[f"{place}.original"] = moved
            given |= {f"{place}.0.{part}": value for part, value in quantizer.state_dict().items()}
        return functional_call(self._quantized, given, (images,))  # pyright: ignore

    def steps(self, model: nn.Module) -> dict[str, tuple[nn.Parameter, Tensor]]:
        """Each quantized weight of the model as it is now, and the step of its grid, by the layer's name."""
        return {
            name: (layer.weight, self._quantizer(f"{name}.weight", layer.weight).code_scale(layer.weight))
            for name, layer in compute_layers(model)
            if f"{name}.weight" in self._layers
        }

    def _focused(self, weight: Tensor, step: Tensor) -> Tensor:
        """The same weight, with a gradient where the nearest code could be another one."""
        with torch.no_grad():
            codes = weight / step
            factor = (self._focus + 1) * (2 * (codes - codes.round()).abs()) ** self._focus
        return weight.detach() + factor * (weight - weight.detach())

    @torch.no_grad()
    def _quantizer(self, name: str, weight: Tensor) -> Any:
        """A weight's quantizer for the range that the weight has now."""
        here = self._layers[name]
        return here.method.weights(weight, here.weight_bits)
