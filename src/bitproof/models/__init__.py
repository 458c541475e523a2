"""Models of [0, 1] images: the table of architectures, the zoo, and weights from files."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from bitproof.errors import InputError, lookup
from bitproof.models.cifar_resnet import CifarResNet
from bitproof.models.digits import DigitsCnn
from bitproof.models.normalize import Normalize, normalized
from bitproof.models.spec import IMAGENET_MEAN, IMAGENET_STD, ModelSpec
from bitproof.models.weights import fill, load_weights, read_weights
from bitproof.models.zoo import timm_spec, torchvision_spec

__all__ = ["MODELS", "ZOO", "ModelSpec", "Normalize", "load_model", "load_weights", "normalized", "read_weights"]


def _cifar(depth: int, activation: type[nn.Module] = nn.ReLU) -> ModelSpec:
    # The public weights of this family were trained with ImageNet's constants, not CIFAR-10's.
    return ModelSpec(
        build=partial(CifarResNet, depth, activation=activation),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        shape=(3, 32, 32),
        classes=10,
    )


def _digits(activation: type[nn.Module] = nn.ReLU) -> ModelSpec:
    build = partial(DigitsCnn, activation=activation)
    return ModelSpec(build=build, mean=(0.5,), std=(0.5,), shape=(1, 20, 20), classes=10)


MODELS: dict[str, ModelSpec] = {
    "resnet20": _cifar(20),
    "resnet32": _cifar(32),
    "resnet44": _cifar(44),
    "resnet56": _cifar(56),
    "resnet110": _cifar(110),
    "resnet20_hardtanh": _cifar(20, nn.Hardtanh),
    "digits_cnn": _digits(),
    "digits_cnn_hardtanh": _digits(nn.Hardtanh),
}

ZOO: dict[str, Callable[[str], ModelSpec]] = {"timm": timm_spec, "torchvision": torchvision_spec}


def load_model(
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
        classes: number of outputs; by default 10, and 1000 for the zoo.
        mean, std: normalisation by channel in [0, 1] units; by default those of the usual weights.
        seed: of random weights.

    Raises:
        InputError: an unknown name, a zoo that is not installed, weights that cannot be read or do not fit.

    Example:
        >>> import torch
        >>> load_model("digits_cnn")(torch.rand(2, 1, 20, 20)).shape
        torch.Size([2, 10])
    """
    source, colon, rest = name.partition(":")
    spec = lookup(ZOO, source, "zoo")(rest) if colon else lookup(MODELS, name, "model")
    if classes is not None and classes < 2:
        raise InputError(f"classes is {classes}", rule="a classifier has at least 2", remedy="Leave it out or raise it")
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
    return model.eval()
