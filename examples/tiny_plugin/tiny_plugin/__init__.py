"""One of everything that a package may add: an attack, a shift, a quantization method, a model, an executor.

Each is what it would be in a file of one's own; `pyproject.toml` gives it a name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bitproof.attacks import Attack
from bitproof.core.ste import straight_through
from bitproof.models import ModelSpec
from bitproof.quant.method import Method
from bitproof.quant.quantizer import WeightQuantizer
from bitproof.records import ConditionRecord
from bitproof.settings import describe
from bitproof.shifts.base import Shift, all_made


@dataclass(frozen=True, kw_only=True)
class Darker(Attack):
    """Takes as much light away as the budget allows."""

    norm: str = "linf"
    eps: float = 0.2
    asks_only = True
    label = property(lambda self: f"darker {self.budget}")
    passes = 0

    def __call__(self, model, inputs, labels, *, targets=None, rng):
        self.goal(model, inputs, labels, targets)
        return (inputs - self.eps).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Mirrored(Shift):
    """Left is right."""

    label = "mirrored"

    def make(self, examples, *, rng):
        return all_made(examples.images.flip(-1))

    def record(self):
        return ConditionRecord(kind="mirror", label=self.label, group="mirror", setting=describe(self, sources=True))


class PowerWeights(WeightQuantizer):
    """The nearest of the largest weight times 1, 1/2, 1/4, ... with either sign."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        top = weight.detach().abs().max().clamp(min=torch.finfo(weight.dtype).tiny)
        steps = (top / weight.abs().clamp(min=torch.finfo(weight.dtype).tiny)).log2().round()
        return straight_through(weight, weight.sign() * top * 2.0 ** -steps.clamp(0, 2 ** (self.bits - 1) - 1))

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


@dataclass(frozen=True, kw_only=True)
class Powers(Method):
    """Weights that are powers of two of the largest, so that products are shifts; activations stay float."""

    name = "powers"
    weight_bits = range(2, 9)

    def weights(self, weight, bits):
        return PowerWeights(bits)


def tiny_net(classes: int) -> nn.Module:
    """One convolution and one linear layer."""
    return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9 * 9, classes))


TINY = ModelSpec(build=tiny_net, mean=(0.5,), std=(0.5,), shape=(1, 20, 20), classes=10)


@dataclass(frozen=True, kw_only=True)
class LeastFirst:
    """Does the tasks here, those first that need least; `count` is what --jobs says."""

    count: int = 1

    def __call__(self, works: Sequence[Any], bench: Any, store: Any, bar: Any) -> Iterator[Any]:
        for work in sorted(works, key=lambda work: len(work.task.needs)):
            needed, missing = work.begin(store, bar)
            if missing:
                yield from work.task(bench, needed, missing, bar.advance)
