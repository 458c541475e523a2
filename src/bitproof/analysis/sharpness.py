"""How sharply the loss rises as weights move: along the error of quantization, and along random directions.

    S(d) = (L(w + t d) - L(w)) / t^2

with d = W_q - W, the error of one layer's weights or of all, against directions of the same l2 norm in each layer.
The Hessian at either point did not tell attacked from clean networks (Hong et al. 2021, arXiv 2111.04625); the loss
along the way that the weights really take is what quantization costs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bitproof.analysis.base import Case, Explanation, quantized
from bitproof.analysis.forms import forms
from bitproof.analysis.variants import Variants
from bitproof.core import losses
from bitproof.core.calling import device_of
from bitproof.core.copying import copied
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.quant.attached import compute_layers
from bitproof.records import LayerSharpness, ModelRecord, Sharpness
from bitproof.records.sharpness import EVERYTHING

Errors = Mapping[str, Tensor]
"""Moves of weights, by the names of their layers."""


@dataclass(frozen=True, kw_only=True)
class Steepness:
    """What `sharpness_along` finds.

    Attributes:
        loss: where the weights are.
        layers: one entry a layer, in the order of the model, and one for all of them together.
        passes: forward passes, all images together.
    """

    loss: float
    layers: tuple[LayerSharpness, ...]
    passes: float


@dataclass(frozen=True, kw_only=True)
class AlongError(Explanation):
    """Sharpness of the float network's loss along the error of quantization, against random directions of its norm.

    Attributes:
        draws: random directions.
        scale: how far to go, 1 = as far as quantization does.
    """

    record: ClassVar = Sharpness

    draws: int = 20
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check(self.draws, self.scale)

    def groups(self, models: Sequence[ModelRecord]) -> list[tuple[ModelRecord, ...]]:
        return [group[:1] for group in quantized(models) if group[0].weight_bits < 32]

    def passes(self, models: Sequence[ModelRecord]) -> int:
        layers = len(models[0].coverage.parts) if models[0].coverage else 20
        return (1 + self.draws) * (1 + layers // 2)

    def look(self, case: Case) -> dict[str, Any]:
        rounded, loose = forms(case.subjects[0].model)
        images, labels, _ = map(list, zip(*case.batches(), strict=True))
        found = sharpness_along(
            loose,
            weight_errors(loose, rounded),
            torch.cat(images),
            torch.cat(labels),
            draws=self.draws,
            scale=self.scale,
            rng=case.rng,
            batch_size=case.batch_size,
        )
        return {"loss": found.loss, "layers": found.layers, "forwards": found.passes}


def weight_errors(model: nn.Module, quantized: nn.Module) -> dict[str, Tensor]:
    """W_q - W of each layer in which two frozen models of the same layers differ."""
    moved = dict(compute_layers(quantized))
    errors = {name: moved[name].weight.detach() - layer.weight.detach() for name, layer in compute_layers(model)}
    return {name: error for name, error in errors.items() if error.any()}


def sharpness_along(
    model: nn.Module,
    errors: Errors,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    *,
    draws: int = 20,
    scale: float = 1.0,
    rng: Rng,
    batch_size: int = 128,
) -> Steepness:
    """S along the errors, layer by layer and of all together, and along `draws` random directions of their norms.

    Args:
        model: frozen, float for the loss of the float network; it is not changed.
        errors: how the weights move, by the names of their layers.
        images: in [0, 1].
        labels: true classes, or those that the model predicts.
        draws: random directions, the same for all images.
        scale: t; 1 goes as far as quantization does.
        rng: of the directions; whose examples it is of does not matter.
        batch_size: most images a pass; the result does not depend on it but by rounding.

    Raises:
        InputError: no weight that moves, or less than one draw.
    """
    if not errors:
        raise InputError(
            "no weights move", rule="sharpness is measured along an error of weights", remedy="Quantize the weights"
        )
    _check(draws, scale)
    layers = {name: layer for name, layer in compute_layers(model) if name in errors}
    device = device_of(model)
    variants = Variants(model, images[:1].to(device))
    size = min(batch_size, variants.images)
    ways: dict[tuple[str, int], dict[str, int]] = {}  # a line and draw to the draws of its layers; 0 is the error
    for draw in range(draws + 1):
        ways |= {(name, draw): {name: draw} for name in layers}
        ways[EVERYTHING, draw] = dict.fromkeys(layers, draw)
    base, sums = 0.0, dict.fromkeys(ways, 0.0)
    for inputs, classes in zip(images.split(size), labels.split(size), strict=True):
        classes = classes.to(device)
        base += _sum(variants.base(inputs.to(device)), classes)
        for way, moves in ways.items():
            moved = {
                name: _moved(layers[name], scale * _direction(errors[name], name, draw, rng))
                for name, draw in moves.items()
            }
            sums[way] += _sum(variants.of(moved), classes)
    loss = base / len(images)

    def bend(name: str) -> Iterator[float]:
        return ((sums[name, draw] / len(images) - loss) / scale**2 for draw in range(draws + 1))

    found = []
    for name in (*layers, EVERYTHING):
        along, *random = bend(name)
        moving = errors.values() if name == EVERYTHING else (errors[name],)
        norm = float(sum(float(error.double().square().sum()) for error in moving) ** 0.5)
        found.append(LayerSharpness(name=name, norm=norm, along=along, random=tuple(random)))
    return Steepness(loss=loss, layers=tuple(found), passes=variants.passes)


def _check(draws: int, scale: float) -> None:
    if draws < 1 or not 0 < scale < float("inf"):
        raise InputError(
            f"draws is {draws} and scale {scale}",
            rule="an error is compared with at least one random direction, on a way of some length",
            remedy="Use draws=20 and scale=1",
        )


def _direction(error: Tensor, name: str, draw: int, rng: Rng) -> Tensor:
    """The error itself for draw 0, else a random direction of its norm."""
    if not draw:
        return error
    keyed = Rng(rng.seed, np.array([draw]), (*rng.path, "directions", name))
    random = keyed.normal(tuple(error.shape))[0].to(error)
    return random * (error.norm() / random.norm())


@torch.no_grad()
def _moved(layer: nn.Module, move: Tensor) -> nn.Module:
    """A copy of a frozen layer, its weight moved."""
    other = copied(layer)
    other.get_parameter("weight").add_(move)
    return other


def _sum(logits: Tensor, labels: Tensor) -> float:
    return float(losses.cross_entropy(logits.double(), labels).sum())
