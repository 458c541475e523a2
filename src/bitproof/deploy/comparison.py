"""A model beside what is deployed of it, be it float or a simulation: how far they agree, and where they part.

Signal-to-quantization-noise, 10 log10(sum x^2 / sum (x - y)^2) in decibels, of what each layer is given in both:
20 dB is an error of a tenth. Layers are matched in the order in which they are called, by the shapes of their inputs.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.copying import copied
from bitproof.data import Data
from bitproof.deploy.kinship import Kinship, kinship
from bitproof.deploy.layers import Given, layer_inputs
from bitproof.errors import InputError
from bitproof.metrics import mcnemar, paired_difference
from bitproof.metrics.intervals import Estimate

EQUAL = 100.0
"""Decibels above which two runtimes differ by float32's rounding alone."""

_LOOKED_AT = 16
"""Images of which the layers are compared."""

_FELL = 6.0
"""Decibels that a layer has to lose against the one before it to be named."""


@dataclass(frozen=True, kw_only=True)
class LayerNoise:
    """What a layer is given in both models.

    Attributes:
        name, other: of the layer in each.
        decibels: signal to noise, infinite where both are equal.
    """

    name: str
    other: str
    decibels: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the same images.

    Attributes:
        kinship: how their answers go together, on all images.
        accuracies: of each.
        difference: the second's less the first's, with its 95% interval, paired.
        p_value: exact McNemar.
        logits: decibels of the logits less each image's mean, which no softmax sees: of what ends in one, logits are
            known but for it.
        layers: what each layer is given; empty where they cannot be matched.
        unmatched: why not, in words.
    """

    kinship: Kinship
    accuracies: tuple[float, float]
    difference: Estimate
    p_value: float
    logits: float
    layers: tuple[LayerNoise, ...]
    unmatched: str | None = None

    @property
    def parted(self) -> LayerNoise | None:
        """The first layer that is given something else; None where none is, or where none could be looked into."""
        return next((layer for layer in self.layers if layer.decibels < EQUAL), None)

    @property
    def findings(self) -> tuple[str, ...]:
        """What is to be said, in words."""
        found = [self.kinship.finding]
        if self.unmatched is not None:
            found.append(self.unmatched)
        elif self.layers:
            first, ends = self.parted, (*self.layers, LayerNoise(name="logits", other="logits", decibels=self.logits))
            if first is None and self.logits >= EQUAL:
                found.append("all layers are given the same, and the logits are equal but for rounding")
            elif first is None:
                found.append("all layers are given the same, and the logits differ: the last layer computes otherwise")
            else:
                found.append(f"the first layer that is given something else is {first.name} ({first.decibels:.1f} dB)")
            falls = [(a.decibels - b.decibels, b) for a, b in itertools.pairwise(ends) if a.decibels < EQUAL]
            fall, layer = max(falls, key=lambda pair: pair[0], default=(0.0, ends[0]))
            if fall >= _FELL:
                found.append(f"most is lost before {layer.name}: {fall:.1f} dB, down to {layer.decibels:.1f} dB")
        return tuple(found)


def noise(signal: Float[Tensor, "..."], found: Float[Tensor, "..."]) -> float:
    """Signal to noise in decibels.

    Example:
        >>> noise(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])), noise(torch.ones(2), torch.ones(2))
        (20.0, inf)
    """
    power, error = (float(x.double().square().sum()) for x in (signal, signal.double() - found.double()))
    if error == 0:
        return math.inf
    return round(10 * math.log10(power / error), 9) if power > 0 else -math.inf


def compare(model: nn.Module, deployed: nn.Module, data: Data, *, batch_size: int = 128) -> Comparison:
    """Compare a model with its deployment, on labelled images; both are left as they are.

    Args:
        model: what the deployed one came from: float, fake-quantized, or its integer form.
        deployed: a session, or any other model.
        data: the examples; layers are compared on the first of them.
        batch_size: images a pass.

    Raises:
        InputError: models of other classes, or ones that do not take the images.
    """
    rows, images = [], []
    for start in range(0, len(data), batch_size):
        read = data.read(range(start, min(start + batch_size, len(data))))
        if len(read.rows):
            rows.append(read.rows)
            images.append(read.images)
    if not rows:
        raise InputError("no images to compare on", rule="at least one can be read", remedy="Check the data")
    labels = data.labels[np.concatenate(rows)]
    first, second = copied(model).eval(), copied(deployed).eval()
    related = kinship(first, second, images)
    (one, expected), (other, found) = (_answers(part, images) for part in (first, second))
    right = [(logits.argmax(1).numpy() == labels) for logits in (expected, found)]
    layers, unmatched = _matched(one, other)
    return Comparison(
        kinship=related,
        accuracies=(float(right[0].mean()), float(right[1].mean())),
        difference=paired_difference(right[1], right[0]),
        p_value=mcnemar(right[1], right[0]),
        logits=noise(*(part - part.mean(1, keepdim=True) for part in (expected, found))),
        layers=layers,
        unmatched=unmatched,
    )


def _answers(model: nn.Module, images: Sequence[Tensor]) -> tuple[list[Given], Tensor]:
    """What the layers are given for the first images, and the logits of all."""
    given, _ = layer_inputs(model, images[0][:_LOOKED_AT])
    with torch.no_grad():
        return given, torch.cat([model(batch).cpu() for batch in images])


def _matched(one: list[Given], other: list[Given]) -> tuple[tuple[LayerNoise, ...], str | None]:
    if not one or not other:
        return (), "the layers of one of them cannot be looked into"
    if len(one) != len(other):
        return (), f"one calls {len(one)} layers with weights, the other {len(other)}: they are not compared"
    for (name, x), (also, y) in zip(one, other, strict=True):
        if x.numel() != y.numel():
            return (), f"{name} is given {list(x.shape[1:])}, {also} {list(y.shape[1:])}: layers are not compared"
    return tuple(
        LayerNoise(name=name, other=also, decibels=noise(x.flatten(), y.flatten()))
        for (name, x), (also, y) in zip(one, other, strict=True)
    ), None
