"""Architectures of timm and torchvision. Pretrained weights are never downloaded: pass a file to `load_model`."""

import difflib
import importlib.util
import math

from bitproof.errors import InputError
from bitproof.models.spec import ModelSpec

_RESIZES = {"bilinear": "pillow-bilinear", "bicubic": "pillow-cubic"}
"""What the zoos call interpolations."""


def timm_spec(name: str) -> ModelSpec:
    """The image classifier that timm calls `name`, with timm's preprocessing for it."""
    _need("timm", "torchvision")
    import timm

    try:  # is_model ignores the tag of a name, as in resnet18.a1_in1k, and the next call refuses unknown ones
        config = timm.models.get_pretrained_cfg(name) if timm.is_model(name) else None
    except RuntimeError:
        config = None
    if config is None:
        raise _unknown(name, timm.list_models(), "timm")
    return ModelSpec(
        build=lambda classes: timm.create_model(name, pretrained=False, num_classes=classes),
        mean=config.mean,
        std=config.std,
        shape=config.input_size,
        classes=1000,
        shorter=math.floor(config.input_size[-1] / config.crop_pct),
        resize=_RESIZES.get(config.interpolation, "pillow-bilinear"),
        source=f"timm's settings of {name}",
    )


def torchvision_spec(name: str) -> ModelSpec:
    """The image classifier that torchvision calls `name`, with the preprocessing of its default weights."""
    _need("torchvision")
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise _unknown(name, known, "torchvision")
    weights = models.get_model_weights(name).DEFAULT  # pyright: ignore - every enumeration of weights has one
    usual = weights.transforms()
    return ModelSpec(
        build=lambda classes: models.get_model(name, weights=None, num_classes=classes),
        mean=tuple(usual.mean),
        std=tuple(usual.std),
        shape=(3, usual.crop_size[0], usual.crop_size[0]),
        classes=1000,
        shorter=usual.resize_size[0],
        resize=_RESIZES.get(usual.interpolation.value, "pillow-bilinear"),
        source=f"torchvision's {weights}",
    )


def _unknown(name: str, known: list[str], zoo: str) -> InputError:
    near = difflib.get_close_matches(name, known, n=5)
    return InputError(
        f"unknown {zoo} model {name!r}",
        rule=f"{zoo} knows {len(known):,} classifiers" + (f", near it {', '.join(near)}" if near else ""),
        remedy="Write the name exactly as the package does",
    )


def _need(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"{package} is not installed",
                rule="models of timm and torchvision need the extra `zoo`",
                remedy="Run pip install 'bitproof[zoo]'",
            )
