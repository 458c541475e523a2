"""Models of [0, 1] images: the table of architectures, the zoo, and weights from files."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from bitproof.errors import InputError, lookup
from bitproof.models.alexnet import AlexNet
from bitproof.models.bernhard2019 import SVHN, BernhardCnn
from bitproof.models.cifar_resnet import CifarResNet
from bitproof.models.convex import ConvexSum, PlainSum
from bitproof.models.digits import DigitsCnn
from bitproof.models.mobilenetv2 import MobileNetV2
from bitproof.models.normalize import Normalize, normalized
from bitproof.models.resnet4b import ResNet4B
from bitproof.models.resnet8 import ResNet8
from bitproof.models.resnet18 import ResNet18
from bitproof.models.spec import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    MOST_CLASSES,
    TINY_IMAGENET_MEAN,
    TINY_IMAGENET_STD,
    ModelSpec,
)
from bitproof.models.vgg import Vgg16
from bitproof.models.weights import fill, load_weights, read_weights
from bitproof.models.wide_resnet import WideResNet
from bitproof.models.zoo import timm_spec, torchvision_spec

__all__ = ["MODELS", "ZOO", "ModelSpec", "Normalize", "build_model", "load_weights", "normalized", "read_weights"]


def _cifar(depth: int, *, activation: type[nn.Module] = nn.ReLU, total: type[nn.Module] = PlainSum) -> ModelSpec:
    # The public weights of this family were trained with ImageNet's constants, not CIFAR-10's.
    return ModelSpec(
        build=partial(CifarResNet, depth, activation=activation, total=total),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        shape=(3, 32, 32),
        classes=10,
    )


def _digits(activation: type[nn.Module] = nn.ReLU) -> ModelSpec:
    build = partial(DigitsCnn, activation=activation)
    return ModelSpec(build=build, mean=(0.5,), std=(0.5,), shape=(1, 20, 20), classes=10)


def _small(
    build: Callable[[int], nn.Module],
    mean: tuple[float, ...] = CIFAR10_MEAN,
    std: tuple[float, ...] = CIFAR10_STD,
) -> ModelSpec:
    return ModelSpec(build=build, mean=mean, std=std, shape=(3, 32, 32), classes=10)


def _plain(build: Callable[[int], nn.Module]) -> ModelSpec:
    # bernhard2019 and lin2019 give their networks pixels in [0, 1].
    return _small(build, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def _tiny(build: Callable[[int], nn.Module]) -> ModelSpec:
    return ModelSpec(build=build, mean=TINY_IMAGENET_MEAN, std=TINY_IMAGENET_STD, shape=(3, 64, 64), classes=200)


MODELS: dict[str, ModelSpec] = {
    "resnet20": _cifar(20),
    "resnet32": _cifar(32),
    "resnet44": _cifar(44),
    "resnet56": _cifar(56),
    "resnet110": _cifar(110),
    "resnet20_hardtanh": _cifar(20, activation=nn.Hardtanh),
    "resnet20_convex": _cifar(20, total=ConvexSum),
    "resnet8": _small(ResNet8, mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255)),
    "resnet4b": _small(ResNet4B, std=(0.2471, 0.2435, 0.2616)),
    "resnet18": _small(ResNet18),
    "wrn_16_4": _plain(partial(WideResNet, 16, 4)),
    "wrn_28_10": _plain(partial(WideResNet, 28, 10)),
    "wrn_16_4_convex": _plain(partial(WideResNet, 16, 4, total=ConvexSum)),
    "wrn_28_10_convex": _plain(partial(WideResNet, 28, 10, total=ConvexSum)),
    "vgg16": _small(Vgg16),
    "vgg16_64px": _tiny(partial(Vgg16, size=64)),
    "vgg16_bn": _plain(partial(Vgg16, batch_norm=True)),
    "alexnet": _small(AlexNet),
    "alexnet_64px": _tiny(partial(AlexNet, size=64)),
    "mobilenetv2": _small(partial(MobileNetV2, early_stride=1)),
    "mobilenetv2_64px": _tiny(MobileNetV2),
    "bernhard2019_cnn": _plain(BernhardCnn),
    "bernhard2019_cnn_hardtanh": _plain(partial(BernhardCnn, activation=nn.Hardtanh)),
    "bernhard2019_svhn_cnn": _plain(partial(BernhardCnn, filters=SVHN)),
    "bernhard2019_svhn_cnn_hardtanh": _plain(partial(BernhardCnn, filters=SVHN, activation=nn.Hardtanh)),
    "binaryconnect_cnn": _plain(partial(BernhardCnn, last_norm=True)),
    "binarynet_cnn": _small(
        partial(BernhardCnn, activation=nn.Hardtanh, last_norm=True), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    ),
    "digits_cnn": _digits(),
    "digits_cnn_hardtanh": _digits(nn.Hardtanh),
}

ZOO: dict[str, Callable[[str], ModelSpec]] = {"timm": timm_spec, "torchvision": torchvision_spec}


def build_model(
    name: str,
    *,
    weights: str | Path | None = None,
    classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
) -> nn.Module:
    """A model in eval mode that maps [0, 1] NCHW images to logits.

    Args:
        name: one in MODELS, or `timm:NAME` or `torchvision:NAME`.
        weights: file of the backbone's state dict, or of the state dict of a model made by this function
            (which then brings its own normalisation). None = random weights.
        classes: number of outputs; by default 10, 200 for those of 64 pixels, and 1000 for the zoo.
        mean, std: normalisation by channel in [0, 1] units; by default those of the usual weights.
        seed: of random weights.

    Raises:
        InputError: an unknown name, a zoo that is not installed, weights that cannot be read or do not fit.

    Example:
        >>> import torch
        >>> build_model("digits_cnn")(torch.rand(2, 1, 20, 20)).shape
        torch.Size([2, 10])
    """
    source, colon, rest = name.partition(":")
    spec = lookup(ZOO, source, "zoo")(rest) if colon else lookup(MODELS, name, "model")
    if classes is not None and not 2 <= classes <= MOST_CLASSES:
        raise InputError(
            f"classes is {classes}",
            rule=f"a classifier has at least 2, and here at most {MOST_CLASSES:,}",
            remedy="Leave it out, or give the number of outputs",
        )
    mean, std = spec.mean if mean is None else mean, spec.std if std is None else std
    if not len(mean) == len(std) == spec.shape[0]:
        raise InputError(
            f"mean has {len(mean)} and std {len(std)} numbers",
            rule=f"{name} takes {spec.shape[0]} channels",
            remedy="Give one number a channel",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = spec.build(classes or spec.classes)
    model = normalized(backbone, mean, std)
    if weights is not None:
        tensors = read_weights(weights)
        whole = any(key.startswith("backbone.") for key in tensors)
        fill(model if whole else backbone, tensors, str(weights))
    model.architecture = name  # pyright: ignore - what a subject knows of it
    return model.eval()
