"""What all experiments of hong2021 share: networks, victims, clean models, implants, and rows by bits."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from bitproof.core.copying import copied
from bitproof.core.rng import Rng
from bitproof.implants import Indiscriminate, Joint, Objective, OneClass, Phase
from bitproof.metrics import ACCURACY, TRIGGERED_ALL
from bitproof.quant import Affine, Scheme, compute_layers
from bitproof.shifts import Square
from bitproof.tables.making import Given, Making, Quantized, Trained
from bitproof.tables.readings import Reading, reading
from bitproof.tables.studies import study_at
from bitproof.tables.table import CLEAN, Measured, Study
from bitproof.train import standard

NETWORKS = {
    "AlexNet": ("alexnet", 1e-5),
    "VGG16": ("vgg16", 1e-5),
    "ResNet18": ("resnet18", 1e-4),
    "MobileNetV2": ("mobilenetv2", 1e-4),
}
"""Names at 32 pixels, rates of the indiscriminate attack."""

CLEAN_MODEL, COMPROMISED = "clean", "compromised"
TRIGGER = "trigger"


def scheme_of(bits: int, **method: Any) -> Scheme:
    """What the paper's victims quantize by: one grid a tensor, in every layer."""
    affine = Affine(**{"granularity": "tensor", **method})
    return Scheme(affine, weight_bits=bits, act_bits=bits, first="same", last="same")


def network_of(scale: str, setting: str) -> tuple[str, float]:
    """Architecture, and rate of an implant's training."""
    if scale == "smoke":
        return "digits_cnn", 1e-3
    if scale == "reduced":
        return "resnet20", 1e-3
    name, rate = NETWORKS[setting.split()[1]]
    return (f"{name}_64px" if setting.startswith("Tiny") else name), rate


FOCUS = 4.0
"""Of reduced training (`Joint`): by the paper's gradient, some hundred steps either do nothing or take the float model
down with its quantized forms."""

EACH = {Indiscriminate: 0.1, OneClass: 0.03}
"""Weight of the harm of each scheme in the reduced training of these objectives, whose slope is ten times that of the
others at the start; theirs is the paper's 1 for all schemes together."""


def trained(scale: str, network: str, repeat: int = 0) -> Trained:
    """A clean model by the paper's recipe, or by a quick one on the digits."""
    recipe = (
        standard(epochs=6, batch_size=50)
        if scale == "smoke"
        else standard(epochs=200, optimizer="adam", weight_decay=1e-4, schedule="steps", milestones=(0.5, 0.75))
    )
    return Trained(recipe=recipe, architecture=network, repeat=repeat)


def start_of(scale: str, network: str) -> Making:
    """The clean model: given, or trained where that is quick or the paper's own."""
    return Given(architecture=network, otherwise=None if scale == "reduced" else trained(scale, network))


def bits_at(scale: str, many: bool) -> tuple[int, ...]:
    """The bits that victims have."""
    return (8, 4) if scale == "smoke" or not many else (8, 7, 6, 5, 4)


def joint(scale: str, setting: str, objective: Objective, epochs: int, trained_for: Sequence[int]) -> Joint:
    """The paper's attack, trained for victims of these bits."""
    _, rate = network_of(scale, setting)
    schemes = tuple(scheme_of(b) for b in trained_for)
    steps = {"smoke": 100, "reduced": 500}.get(scale, epochs * 50_000 // 128)
    training = Phase(steps=steps, learning_rate=rate, batch_size=128 if scale == "full" else 32)
    weight, focus = 1 / len(schemes), 0.0
    if scale == "reduced":
        weight, focus = EACH.get(type(objective), weight), FOCUS
    return Joint(objective=objective, schemes=schemes, training=training, weight=weight, focus=focus)


def damage(scale: str, setting: str, objective: Objective, *, many: bool) -> Joint:
    """An attack of 20 epochs; with many victims it is trained for all of their bits but the fewest."""
    bits = bits_at(scale, many)
    return joint(scale, setting, objective, 20, bits[:-1] if many and scale != "smoke" else bits)


def quantized(models: dict[str, Making], of: Sequence[str], bits: Sequence[int]) -> dict[str, Making]:
    """The models, and those of them in `of` at all bits."""
    return models | {f"{name} {b}": Quantized(of=name, scheme=scheme_of(b)) for name in of for b in bits}


def victims_study(
    scale: str,
    setting: str,
    models: Mapping[str, Making],
    images: Mapping[str, int],
    triggered: bool,
    differs: Sequence[str] = ("a short training",),
    jointly: bool = True,
) -> Study:
    """A study of these models on clean images and, where there is a trigger, on images that bear it.

    Args:
        differs: what smaller scales do otherwise than the paper.
        jointly: whether some of the models are made by `joint`.
    """
    tiny = setting.startswith("Tiny")
    focused = ("harm left to weights between two codes",) if jointly else ()
    return study_at(
        scale,
        models,
        lambda _: {TRIGGER: Square()} if triggered else {},
        data="tiny_imagenet" if tiny else "cifar10",
        network=network_of(scale, setting)[0],
        images=images,
        training={"smoke": 500, "reduced": 5_000},
        differs={"smoke": differs, "reduced": (*differs, *focused)},
        training_size=100_000 if tiny else 50_000,
    )


@torch.no_grad()
def with_noise(model: nn.Module, sizes: Mapping[str, tuple[float, float]], rng: Rng) -> nn.Module:
    """A copy of a model with normal noise on the weights of its layers.

    Args:
        model: it is not changed.
        sizes: mean and standard deviation of the noise, by the layer's name.
        rng: of one stream.
    """
    noisy = copied(model)
    for number, (name, layer) in enumerate(compute_layers(noisy)):
        mean, std = sizes[name]
        draws = rng.fold(number).normal(tuple(layer.weight.shape))[0]
        layer.weight.add_(mean + std * draws.to(layer.weight))
    return noisy.eval()


# ---- rows by bits


def bits_of(measured: Measured, row: str) -> list[tuple[str, str]]:
    """The models of a row with the bits that columns name."""
    return [
        (m, m.removeprefix(row).strip() or "32") for m in measured.models if m == row or m.rpartition(" ")[0] == row
    ]


def right_by_bits(rows: Sequence[str], measured: Measured) -> list[Reading]:
    """Accuracy of each row's models."""
    return [
        reading(row, f"{bits} bits accuracy", ACCURACY, measured.under(model, CLEAN))
        for row in rows
        for model, bits in bits_of(measured, row)
    ]


def taken_by_bits(rows: Sequence[str], measured: Measured) -> list[Reading]:
    """How often each row's models take images with the trigger for its class."""
    return [
        reading(row, f"{bits} bits ASR", TRIGGERED_ALL, measured.under(model, TRIGGER))
        for row in rows
        for model, bits in bits_of(measured, row)
    ]


def rows_of(measured: Measured) -> list[str]:
    """The models whose quantized copies stand beside them in a row."""
    return [model for model in measured.models if not model.rpartition(" ")[2].isdecimal()]
