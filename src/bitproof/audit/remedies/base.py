"""What every remedy is: a frozen setting that makes of a quantized model another one that keeps closer to its float
model, or at least leaves the roundings that somebody may have prepared."""

import abc
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bitproof.core.calling import answer
from bitproof.core.copying import copied
from bitproof.core.rng import Rng
from bitproof.ptq.rounding import between_levels
from bitproof.quant import compute_layers
from bitproof.quant.attached import float_weight, weight_quantizer
from bitproof.train.objectives.distillation import distillation

BATCH = 128


class Remedy(abc.ABC):
    """A way to a quantized model that behaves like the float one."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """Short form for people."""

    @abc.abstractmethod
    def __call__(
        self, quantized: nn.Module, model: nn.Module, images: Float[Tensor, "n c h w"], *, rng: Rng
    ) -> nn.Module:
        """A copy of `quantized` with other roundings or weights on the same grids, in eval mode.

        Args:
            quantized: made by `quantize` from `model`.
            model: float model with the same layers.
            images: what both are compared on. No labels: the float model is right by definition.
            rng: keyed by one id.

        Raises:
            InputError: a quantizer whose levels around a weight are not known.
        """


def around(quantized: nn.Module) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """For each layer with a rounded weight: two weights that go to the levels around it, and where between it lies."""
    found = {}
    for name, layer in compute_layers(quantized):
        quantizer = weight_quantizer(layer)
        if quantizer is not None:
            found[name] = between_levels(quantizer, float_weight(layer).detach())
    return found


@torch.no_grad()
def rounded(quantized: nn.Module, up: Mapping[str, Bool[Tensor, "out ..."]]) -> nn.Module:
    """A copy whose weights in these layers go to the further level where `up` says so, else to the nearer one."""
    made, layers = copied(quantized).eval(), around(quantized)
    for name, layer in compute_layers(made):
        if name in up:
            near, far, _ = layers[name]
            float_weight(layer).copy_(torch.where(up[name], far, near))
    return made


@torch.no_grad()
def logits(model: nn.Module, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
    """What a model answers, on its device."""
    return torch.cat([answer(model, part) for part in images.split(BATCH)])


def distance(found: Float[Tensor, "n k"], wanted: Float[Tensor, "n k"]) -> float:
    """The mean divergence KL(wanted || found) of two models' answers, in nats."""
    return float(distillation(found, wanted, 1.0))


def kept(found: Float[Tensor, "n k"], wanted: Float[Tensor, "n k"]) -> float:
    """The share of predictions that are the same."""
    return float((found.argmax(1) == wanted.argmax(1)).float().mean())
