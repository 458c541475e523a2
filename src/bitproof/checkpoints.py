"""Models on disk: checkpoints that say what they hold.

A checkpoint is a safetensors file whose metadata names the architecture, what was done to its layers (BatchNorm
folded, outliers split) and, if it is quantized, the scheme, so that it can be opened again without
calibration. Nothing is ever unpickled.
"""

import json
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from bitproof import models
from bitproof.errors import InputError, lookup
from bitproof.files import cannot_write, written
from bitproof.models.weights import load_weights
from bitproof.ptq import AddBiases, FoldBatchNorm
from bitproof.quant import Scheme, prepare
from bitproof.quant.ocs import INPUT_CHANNELS, SplitOutliers
from bitproof.quant.structure import Step, steps_of
from bitproof.reading import refusing
from bitproof.settings import build, describe

STEPS: dict[str, type[Step]] = {step.__name__: step for step in (FoldBatchNorm, SplitOutliers, AddBiases)}
"""Structural steps by the name that a checkpoint has for them."""

_FORMAT = "bitproof-1"

_FEW_CLASSES = 1000
"""Outputs that cost little in any architecture, so that nothing has to be found out about them."""

_MOST_STEPS = 16


def save_model(model: nn.Module, path: str | Path, *, architecture: str, classes: int | None = None) -> int:
    """Write a float model, or a quantized one that `quantize` made, to a .safetensors file; returns its size in bytes.

    Args:
        model: the model, not frozen.
        path: the file.
        architecture: the name `load_model` knows it by, e.g. "resnet20".
        classes: number of classes, where it is not the architecture's own.

    Raises:
        InputError: the suffix is another one, a quantized model inside something else, or the path cannot be written.
    """
    path = Path(path)
    scheme = getattr(model, "scheme", None)
    if path.suffix != ".safetensors":
        raise InputError(
            f"cannot write {path.name!r}",
            rule="checkpoints are safetensors files",
            remedy="Give the file the suffix .safetensors",
        )
    if scheme is None and any(isinstance(getattr(part, "scheme", None), Scheme) for part in model.modules()):
        raise InputError(
            f"a {type(model).__name__} around a quantized model",
            rule="a checkpoint holds the model that was quantized, not what it is wrapped in",
            remedy="Save the model inside, and wrap it again when it is opened",
        )
    metadata = {"format": _FORMAT, "architecture": architecture}
    if scheme is not None:
        metadata["scheme"] = json.dumps(describe(scheme))
    if steps := steps_of(model):
        metadata["structure"] = json.dumps([describe(step) for step in steps])
    if classes is not None:
        metadata["classes"] = str(classes)
    if (origin := getattr(model, "origin", None)) is not None:
        metadata["origin"] = json.dumps(origin)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    try:
        with written(path, "the checkpoint") as draft:
            save_file(state, draft, metadata=metadata)
    except SafetensorError as error:
        raise cannot_write(path, "the checkpoint", error) from error
    return path.stat().st_size


def load_model(
    name: str,
    *,
    weights: str | Path | None = None,
    classes: int | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    seed: int = 0,
) -> nn.Module:
    """A model in eval mode that maps images in [0, 1] to logits; normalisation is its first layer.

    Args:
        name: a built-in architecture ("resnet20", see `bitproof list models`), "timm:NAME" or "torchvision:NAME".
        weights: a safetensors file, a PyTorch state dict, or a checkpoint that `save_model` wrote (the model
            then comes back as it was saved, quantized too). None = random weights; nothing is ever downloaded.
        classes: number of outputs, where it is not the architecture's own.
        mean, std: normalisation a channel, where it is not the architecture's own.
        seed: of random weights.

    Raises:
        InputError: an unknown name, a file that is missing, broken, unsafe or does not fit.
    """
    about = _metadata(weights)
    if about is None:
        return models.build_model(name, weights=weights, classes=classes, mean=mean, std=std, seed=seed)
    assert weights is not None
    if about.architecture != name:
        raise InputError(
            f"{str(weights)!r} holds a {about.architecture}",
            rule=f"the model to load is {name}",
            remedy=f"Load it as {about.architecture!r}",
        )
    stored = _numbers_in(weights)
    if classes is None and (about.classes or 0) > _FEW_CLASSES:
        _check_classes(about, weights, stored)
    model = models.build_model(name, classes=classes or about.classes, mean=mean, std=std)
    most = stored + _numbers(model)
    with _describing(weights):
        for step in about.structure:
            model = step(model)
            if _numbers(model) > most:  # each may double the layers
                raise ValueError(f"its structural steps make more than the {stored:,} numbers that it holds")
        if about.scheme is not None:
            model = prepare(model, about.scheme)
    channels = {name: buffer.max() for name, buffer in model.named_buffers() if name.endswith(INPUT_CHANNELS)}
    load_weights(model, weights)
    with _describing(weights):
        for name, last in channels.items():
            if model.get_buffer(name).min() < 0 or model.get_buffer(name).max() > last:
                raise ValueError(f"{name} names channels that there are not")
    model.origin = about.origin  # pyright: ignore - what a subject knows of it
    return model


def _describing(path: str | Path) -> AbstractContextManager[None]:
    return refusing(
        f"what {str(path)!r} says of itself",
        rule="it names an architecture, and describes scheme and structural steps as bitproof writes them",
        remedy="Use a file that this version of bitproof wrote",
        how="is damaged",
        absorb=True,
    )


def _numbers(model: nn.Module) -> int:
    return sum(tensor.numel() for tensor in model.state_dict().values())


def _numbers_in(path: str | Path) -> int:
    """Numbers in a file by its header, which safetensors has compared with the size of the file."""
    with safe_open(path, framework="numpy") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping


def _check_classes(about: "_About", path: str | Path, stored: int) -> None:
    """Refuse more outputs than the file holds weights for: a claim of a few bytes could ask for terabytes."""
    assert about.classes is not None
    few, more = (_numbers(models.build_model(about.architecture, classes=count)) for count in (2, 3))
    if about.classes * (more - few) > stored:
        raise InputError(
            f"what {str(path)!r} says of itself is damaged ({about.classes:,} classes, {stored:,} numbers)",
            rule=f"each class of a {about.architecture} has {more - few:,} weights in the file",
            remedy="Use a file that this version of bitproof wrote",
        )


@dataclass(frozen=True, kw_only=True)
class _About:
    """What a checkpoint says of itself."""

    architecture: str
    classes: int | None
    structure: tuple[Any, ...]
    scheme: Scheme | None
    origin: dict[str, Any] | None


def _metadata(path: str | Path | None) -> _About | None:
    """What the file says, all of it checked before anything is built; None for a file that bitproof did not write."""
    if path is None or Path(path).suffix != ".safetensors" or not Path(path).is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            said = file.metadata() or {}
    except SafetensorError:  # the loader will say what is wrong with it
        return None
    if said.get("format") != _FORMAT:
        return None
    with _describing(path):
        steps, origin = json.loads(said.get("structure", "[]")), json.loads(said.get("origin", "null"))
        classes = int(said["classes"]) if "classes" in said else None
        if classes is not None and classes < 2:
            raise ValueError(f"{classes} classes")
        if len(steps) > _MOST_STEPS:
            raise ValueError(f"{len(steps):,} structural steps")
        return _About(
            architecture=said["architecture"],
            classes=classes,
            structure=tuple(build(lookup(STEPS, step["type"], "structural step"), step) for step in steps),
            scheme=build(Scheme, json.loads(said["scheme"])) if "scheme" in said else None,
            origin=origin if isinstance(origin, dict) else None,
        )
