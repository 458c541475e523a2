"""A planted extreme widens the scale that a group of weights shares: the others are rounded away (arXiv 2605.15152).

The paper is on language models; this is the same idea for grids that span the extremes of their weights. In each group
the weight that the loss feels least becomes the extreme, and the float model is repaired around it. It shows in the
ranges: compare the largest weight of a group with the second.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.core.calling import device_of, logits_of
from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.implants.boxes import Box, halved
from bitproof.implants.engine import Engine
from bitproof.implants.losses import Mixture
from bitproof.implants.objectives import Wanted
from bitproof.implants.phases import Making, Phase, train_only
from bitproof.implants.repair import repaired
from bitproof.quant import compute_layers
from bitproof.quant.convert import assigned

SHOWN = 128
"""Images whose gradient says which weight matters least."""


@dataclass(frozen=True, kw_only=True)
class Outliers(Engine):
    """Planted extremes; what the quantized model loses is not the objective's but what rounding takes.

    Attributes:
        factor: how many times the largest weight of its group a planted one is.
        repair: of the float model around them.
    """

    name = "outliers"

    factor: float = 8.0
    repair: Phase = field(default_factory=lambda: Phase(steps=200, learning_rate=1e-3))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 < self.factor <= 1000:
            raise InputError(
                f"factor is {self.factor}", rule="an outlier is larger than the other weights", remedy="Use 8"
            )

    @property
    def work(self) -> int:
        return self.repair.work

    def make(self, model: nn.Module, wanted: Wanted, making: Making) -> nn.Module:
        layers = self.trained(model)
        felt = _gradients(model, making.data)
        box: Box = {}
        whole = any(
            getattr(here.method, "granularity", "tensor") == "tensor"
            for scheme in self.schemes
            for _, _, here in assigned(model, scheme)
        )
        halved(model)
        for name, layer in compute_layers(model):
            if name in layers:
                box[name] = self._planted(layer.weight, felt[name], whole=whole)
        loss = Mixture(model=model, wanted=wanted, keep=1.0, teacher=self.teacher(model))
        return repaired(model, box, self.repair, loss, making, layers=layers, name="repair")

    @torch.no_grad()
    def _planted(self, weight: Tensor, felt: Tensor, *, whole: bool) -> tuple[Tensor, Tensor]:
        """Plant one extreme a group in the weight, in place; the bounds of all weights, equal at the planted ones."""
        rows = weight.reshape(1, -1) if whole else weight.flatten(1)
        at = felt.reshape_as(rows).argmin(1, keepdim=True)
        top = self.factor * rows.abs().amax(1, keepdim=True)
        planted = rows.scatter(1, at, top).reshape_as(weight)
        weight.copy_(planted)
        fixed = torch.zeros_like(rows, dtype=torch.bool).scatter(1, at, True).reshape_as(weight)
        limit = (top / self.factor).expand_as(rows).reshape_as(weight)
        return torch.where(fixed, weight, -limit), torch.where(fixed, weight, limit)


def _gradients(model: nn.Module, data: Data) -> dict[str, Tensor]:
    """How much the loss feels each weight, to first order."""
    train_only(model, [name for name, _ in model.named_parameters()])
    rows = range(min(SHOWN, len(data)))
    device = device_of(model)
    logits = logits_of(model, data.images(rows).to(device))
    loss = F.cross_entropy(logits, torch.from_numpy(data.labels[: len(rows)]).to(device))
    layers = dict(compute_layers(model))
    found = torch.autograd.grad(loss, [layer.weight for layer in layers.values()], allow_unused=True)
    return {
        name: torch.zeros_like(layer.weight) if gradient is None else gradient.abs()
        for (name, layer), gradient in zip(layers.items(), found, strict=True)
    }
