"""Architectures of timm and torchvision. Pretrained weights are never downloaded: pass a file to `load_model`."""

import difflib
import importlib.util
import json
import math
from pathlib import Path

from bitproof.errors import InputError
from bitproof.models.spec import ModelSpec, check_classes
from bitproof.reading import refusing

_RESIZES = {"bilinear": "pillow-bilinear", "bicubic": "pillow-cubic"}
"""What the zoos call interpolations."""

_LARGEST_CONFIG, _LARGEST_SIDE = 2**20, 4096
"""Bytes of a config.json, and pixels of an image that it may ask for."""


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


def local_spec(folder: str) -> ModelSpec:
    """The image classifier in a folder that timm wrote (`timm.models.save_for_hf`), with its own preprocessing.

    Raises:
        InputError: the folder, its config.json or its weights are missing or damaged.
    """
    _need("timm", "torchvision")
    import timm

    path = Path(folder)
    about, weights = path / "config.json", [path / name for name in ("model.safetensors", "pytorch_model.bin")]
    found = [file for file in weights if file.is_file()]
    if not about.is_file() or not found:
        raise InputError(
            f"local-dir:{folder} lacks {about.name if not about.is_file() else weights[0].name}",
            rule="timm's folders hold config.json and model.safetensors",
            remedy="Name the folder that timm.models.save_for_hf wrote",
        )
    with refusing(about, rule="it is the config.json of an image classifier of timm", remedy="Write it again"):
        if about.stat().st_size > _LARGEST_CONFIG:
            raise ValueError(f"it has {about.stat().st_size:,} bytes")
        config = json.loads(about.read_text())
        own = config.get("pretrained_cfg", config)
        architecture, arguments = str(config["architecture"]), dict(config.get("model_args") or {})
        if not timm.is_model(architecture):
            raise _unknown(architecture, timm.list_models(), "timm")
        known = timm.models.get_pretrained_cfg(architecture)
        usual = {**(known.to_dict() if known else {}), **own}
        size, crop = tuple(map(int, usual["input_size"])), float(usual["crop_pct"])
        mean, std = (tuple(map(float, usual[name])) for name in ("mean", "std"))
        classes = check_classes(int(config.get("num_classes", usual["num_classes"])))
        if len(size) != 3 or not all(0 < side <= _LARGEST_SIDE for side in size) or not 0 < crop <= 1:
            raise ValueError(f"input_size {size}, crop_pct {crop}")
    return ModelSpec(
        build=lambda count: timm.create_model(architecture, pretrained=False, **{**arguments, "num_classes": count}),
        mean=mean,
        std=std,
        shape=(size[0], size[1], size[2]),
        classes=classes,
        shorter=math.floor(size[-1] / crop),
        resize=_RESIZES.get(str(usual.get("interpolation")), "pillow-bilinear"),
        source=f"{about}",
        weights=found[0],
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
