"""The quantizers in a model: where they sit, and what training asks of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitproof.quant.quantizer import InputQuantizer, Quantizer, WeightQuantizer

COMPUTE_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)
INPUT_QUANTIZER = "input_quantizer"
GRADIENT_QUANTIZER = "gradient_quantizer"


def compute_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Name and module of each layer that quantization acts on, in order of registration."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, COMPUTE_LAYERS))


def weight_quantizer(layer: nn.Module) -> WeightQuantizer | None:
    """What a layer's weight goes through last; None where that is no quantizer."""
    if not parametrize.is_parametrized(layer, "weight"):
        return None
    last = layer.parametrizations.weight[-1]  # pyright: ignore
    return last if isinstance(last, WeightQuantizer) else None


def input_quantizer(layer: nn.Module) -> InputQuantizer | None:
    """What a layer's input goes through; None where it stays float."""
    found = getattr(layer, INPUT_QUANTIZER, None)
    return found if isinstance(found, InputQuantizer) else None


def quantizer_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """What the quantizers of a model learn: steps, clipping levels, scales, offsets; not the weights under them."""
    for _, layer in compute_layers(model):
        for quantizer in (input_quantizer(layer), weight_quantizer(layer)):
            if quantizer is not None:
                yield from quantizer.parameters()


@contextmanager
def unquantized(model: nn.Module) -> Iterator[None]:
    """The model without its quantizers while the context is open: its float weights as they are, no input rounded."""
    layers = [layer for _, layer in compute_layers(model)]
    chains: list[Any] = [layer.parametrizations.weight for layer in layers if weight_quantizer(layer) is not None]
    weights = [chain[-1] for chain in chains]
    inputs = [(layer, quantizer) for layer in layers if (quantizer := input_quantizer(layer)) is not None]
    try:
        for chain in chains:
            chain[-1] = nn.Identity().train(model.training)
        for layer, _ in inputs:
            layer.add_module(INPUT_QUANTIZER, nn.Identity().train(model.training))
        yield
    finally:
        for chain, quantizer in zip(chains, weights, strict=True):
            chain[-1] = quantizer
        for layer, quantizer in inputs:
            layer.add_module(INPUT_QUANTIZER, quantizer)


def penalty(model: nn.Module) -> Float[Tensor, ""]:
    """What the quantizers of a model add to a loss, before it is weighted: alpha^2 over PACT's clipping levels."""
    added = (module.penalty() for module in model.modules() if isinstance(module, Quantizer))
    return sum(added, start=torch.zeros(()))


def limited_weights(model: nn.Module) -> Iterator[tuple[nn.Parameter, float]]:
    """The float weights that their quantizers keep near zero, each with its limit."""
    for weight, quantizer in _float_weights(model):
        if quantizer.limit is not None:
            yield weight, quantizer.limit


@torch.no_grad()
def after_step(model: nn.Module) -> None:
    """What the quantizers of a model do to the float weights, in place, once an optimiser has moved them: clip them."""
    for weight, quantizer in _float_weights(model):
        quantizer.after_step(weight)


def _float_weights(model: nn.Module) -> Iterator[tuple[nn.Parameter, WeightQuantizer]]:
    for _, layer in compute_layers(model):
        quantizer = weight_quantizer(layer)
        if quantizer is not None and len(layer.parametrizations.weight) == 1:  # else no one tensor is the float weight
            yield layer.parametrizations.weight.original, quantizer
