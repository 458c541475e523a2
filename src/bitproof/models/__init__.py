"""Models of [0, 1] images: the table of architectures, the zoo, and weights from files."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

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
from bitproof.models.own import as_brought, check_brought, own_network
from bitproof.models.resnet4b import ResNet4B
from bitproof.models.resnet8 import ResNet8
from bitproof.models.resnet18 import ResNet18
from bitproof.models.spec import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    TINY_IMAGENET_MEAN,
    TINY_IMAGENET_STD,
    ModelSpec,
    check_classes,
)
from bitproof.models.vgg import Vgg16
from bitproof.models.weights import fill, load_weights, read_weights
from bitproof.models.wide_resnet import WideResNet
from bitproof.models.zoo import local_spec, timm_spec, torchvision_spec
from bitproof.settings import Table, is_importable

__all__ = [
    "MODELS",
    "ZOO",
    "ModelSpec",
    "Normalize",
    "as_brought",
    "build_model",
    "is_own",
    "load_weights",
    "normalized",
    "preprocessing",
    "read_weights",
    "zoo_spec",
]


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
    "wrn_10_1": _plain(partial(WideResNet, 10, 1)),
    "wrn_16_4": _plain(partial(WideResNet, 16, 4)),
    "wrn_28_10": _plain(partial(WideResNet, 28, 10)),
    "wrn_10_1_convex": _plain(partial(WideResNet, 10, 1, total=ConvexSum)),
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
    "bernhard2019_cnn_quarter": _plain(partial(BernhardCnn, width=32)),
    "bernhard2019_cnn_quarter_hardtanh": _plain(partial(BernhardCnn, width=32, activation=nn.Hardtanh)),
    "bernhard2019_svhn_cnn": _plain(partial(BernhardCnn, filters=SVHN)),
    "bernhard2019_svhn_cnn_hardtanh": _plain(partial(BernhardCnn, filters=SVHN, activation=nn.Hardtanh)),
    "binaryconnect_cnn": _plain(partial(BernhardCnn, last_norm=True)),
    "binarynet_cnn": _small(
        partial(BernhardCnn, activation=nn.Hardtanh, last_norm=True), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    ),
    "digits_cnn": _digits(),
    "digits_cnn_hardtanh": _digits(nn.Hardtanh),
}

KNOWN: Table[ModelSpec] = Table(MODELS, "bitproof.models")
"""The same, and those of other packages."""

ZOO: dict[str, Callable[[str], ModelSpec]] = {
    "timm": timm_spec,
    "torchvision": torchvision_spec,
    "local-dir": local_spec,
}


def is_own(name: str) -> bool:
    """Whether a name is that of somebody's own network, `package.module:callable`."""
    module, colon, called = name.partition(":")
    return bool(colon) and module not in ZOO and called.isidentifier() and is_importable(module)


def brings_weights(name: str) -> bool:
    """Whether trained weights come with a network, as with a folder that timm wrote."""
    return name.startswith("local-dir:")


def zoo_spec(name: str) -> ModelSpec | None:
    """What the zoo's own configuration says of a network; None for one that is not from there."""
    source, colon, rest = name.partition(":")
    return ZOO[source](rest) if colon and source in ZOO else None


def preprocessing(name: str) -> dict[str, Any]:
    """How pictures become the input of a network of the zoo, as its own configuration has it: options of `load_data`.

    Empty for other networks.

    Example:
        >>> preprocessing("resnet20")
        {}
    """
    spec = zoo_spec(name)
    if spec is None:
        return {}
    return {"size": spec.shape[1], "shorter": spec.shorter, "resize": spec.resize}


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
        name: one in MODELS, `timm:NAME`, `torchvision:NAME`, `local-dir:FOLDER` of timm (which brings its weights),
            or a network of one's own as `package.module:callable`
            (see `own_network`).
        weights: file of the backbone's state dict, or of the state dict of a model made by this function
            (which then brings its own normalisation). None = random weights.
        classes: number of outputs; by default 10, 200 for those of 64 pixels, and 1000 for the zoo.
        mean, std: normalisation by channel in [0, 1] units; by default those of the usual weights; none for a
            network of one's own, unless its weights bring one.
        seed: of random weights.

    Raises:
        InputError: an unknown name, a zoo that is not installed, weights that cannot be read or do not fit.

    Example:
        >>> import torch
        >>> build_model("digits_cnn")(torch.rand(2, 1, 20, 20)).shape
        torch.Size([2, 10])
    """
    tensors = None if weights is None else read_weights(weights)
    source, colon, rest = name.partition(":")
    if is_own(name):
        model = own_network(name, weights=tensors, source=str(weights), classes=classes, mean=mean, std=std, seed=seed)
        model.architecture = name  # pyright: ignore - what a subject knows of it
        return model
    if colon and source not in ZOO:
        raise InputError(
            f"unknown network {name!r}",
            rule=f"before the colon stands a zoo ({', '.join(ZOO)}), or a module of your own in the working directory "
            "or the environment, as in nets:Net",
            remedy="Run the command in the folder of the module's file, and write its name without .py",
        )
    spec = ZOO[source](rest) if colon else lookup(KNOWN, name, "model")
    if classes is not None:
        check_classes(classes)
    if tensors is None and spec.weights is not None:
        weights, tensors = spec.weights, read_weights(spec.weights)
    given = mean, std
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
    if tensors is not None:
        whole = any(key.startswith("backbone.") for key in tensors)
        if whole and "normalize.mean" in tensors:
            check_brought(*given, str(weights))
        fill(model if whole else backbone, tensors, str(weights))
    model.architecture = name  # pyright: ignore - what a subject knows of it
    return model.eval()
