"""Quantized forms of a float model that follow its weights while these are trained."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from bitproof.quant import Scheme, compute_layers, quantize
from bitproof.quant.attached import weight_quantizer
from bitproof.quant.convert import assigned


class Shadow:
    """What a model answers once it is quantized, as a function of its float weights: straight through the rounding.

    Ranges of weights follow the weights; those of activations stay as they were calibrated, and BatchNorm statistics as
    they were. (The paper's public code takes activation ranges from each batch, tested ones too.)

    Args:
        model: as it is before training.
        scheme: how it is quantized.
        images: calibration images.
    """

    def __init__(self, model: nn.Module, scheme: Scheme, images: Float[Tensor, "n c h w"]) -> None:
        self._quantized = quantize(model, scheme, images)
        self._layers: dict[str, tuple[Any, Any]] = {}
        for name, layer, here in assigned(self._quantized, scheme):
            quantizer = weight_quantizer(layer)
            if quantizer is not None:
                self._layers[f"{name}.weight"] = quantizer, here

    def __call__(
        self, model: nn.Module, images: Float[Tensor, "n c h w"], *, dither: bool = False
    ) -> Float[Tensor, "n k"]:
        """The logits of the model as it is, quantized; `dither` moves weights by up to half a step first."""
        given: dict[str, Tensor] = {}
        for name, parameter in model.named_parameters():
            if name not in self._layers:
                given[name] = parameter
                continue
            quantizer, here = self._layers[name]
            with torch.no_grad():
                quantizer.load_state_dict(here.method.weights(parameter, here.weight_bits).state_dict())
            moved = parameter
            if dither:
                moved = parameter + (torch.rand_like(parameter) - 0.5) * quantizer.code_scale(parameter)
            layer = name.removesuffix(".weight")
            given[f"{layer}.parametrizations.weight.original"] = moved
        return functional_call(self._quantized, given, (images,))  # pyright: ignore

    def steps(self, model: nn.Module) -> dict[str, tuple[nn.Parameter, Tensor]]:
        """Each quantized weight of the model as it is now, and the step of its grid, by the layer's name."""
        found = {}
        for name, layer in compute_layers(model):
            if f"{name}.weight" in self._layers:
                quantizer, here = self._layers[f"{name}.weight"]
                with torch.no_grad():
                    quantizer.load_state_dict(here.method.weights(layer.weight, here.weight_bits).state_dict())
                found[name] = layer.weight, quantizer.code_scale(layer.weight).clone()
        return found
