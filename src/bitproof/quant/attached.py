"""The quantizers in a model: where they sit, and what training asks of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bitproof.errors import InputError
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


def float_weight(layer: Any) -> nn.Parameter:
    """The weight that a layer's quantizer rounds, for what moves it or looks at its roundings.

    Raises:
        InputError: a weight that is no parameter, as `weight_norm` and its like compute it of others.
    """
    chain = layer.parametrizations.weight
    if len(chain) > 1:
        raise InputError(
            f"a weight that {type(chain[0]).__name__} computes",
            rule="roundings are chosen, and levels looked at, for weights that are parameters themselves",
            remedy="Call torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight') on the float model first",
        )
    return chain.original


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


def rounded_weight(layer: Any) -> Float[Tensor, "out ..."]:
    """What a layer's quantizer rounds, computed or not; its weight where it has none."""
    if weight_quantizer(layer) is None:
        return layer.weight
    if len(layer.parametrizations.weight) == 1:
        return layer.parametrizations.weight.original
    with unquantized(layer):  # `weight_norm` and its like make it of others
        return layer.weight


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
            yield float_weight(layer), quantizer
