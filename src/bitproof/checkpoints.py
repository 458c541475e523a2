"""Models on disk: checkpoints that say what they hold.

A checkpoint is a safetensors file whose metadata names the architecture, what was done to its layers (BatchNorm
folded, outliers split) and, if it is quantized, the scheme, so that it can be opened again without
calibration. Nothing is ever unpickled.
"""

import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bitproof import models
from bitproof.core.copying import copied, moved
from bitproof.data.base import composed
from bitproof.errors import InputError, kind_of, lookup
from bitproof.files import written
from bitproof.models.weights import load_weights
from bitproof.ptq import AddBiases, FoldBatchNorm
from bitproof.quant import Scheme, prepare
from bitproof.quant.ocs import INPUT_CHANNELS, SplitOutliers
from bitproof.quant.roles import Roles
from bitproof.quant.structure import Step, steps_of
from bitproof.reading import refusing
from bitproof.settings import build, describe

STEPS: dict[str, type[Step]] = {step.__name__: step for step in (FoldBatchNorm, SplitOutliers, AddBiases, Roles)}
"""Structural steps by the name that a checkpoint has for them."""

_FORMAT = "bitproof-1"

DTYPES = {
    "torch.float64": "F64",
    "torch.float32": "F32",
    "torch.float16": "F16",
    "torch.bfloat16": "BF16",
    "torch.int64": "I64",
    "torch.int32": "I32",
    "torch.int16": "I16",
    "torch.int8": "I8",
    "torch.uint8": "U8",
    "torch.bool": "BOOL",
}
"""What safetensors calls torch's kinds of numbers."""

_FEW_CLASSES = 1000
"""Outputs that cost little in any architecture, so that nothing has to be found out about them."""

_MOST_STEPS = 16


def save_model(model: nn.Module, path: str | Path, *, architecture: str, classes: int | None = None) -> int:
    """Write a float model, or a quantized one that `quantize` made, to a .safetensors file; returns its size in bytes.

    Args:
        model: the model, not frozen.
        path: the file.
        architecture: the name `load_model` knows it by, e.g. "resnet20" or "timm:NAME"; of a network of your own any
            word, as `load_model` then takes the network itself.
        classes: number of classes, where it is not the architecture's own.

    What the model knows of itself goes along: scheme, structure, origin, and `class_names`, the names of its outputs in
    their order, with which it is refused on data that number these classes otherwise.

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
            f"{kind_of(model)} around a quantized model",
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
    if (names := getattr(model, "class_names", None)) is not None:
        metadata["class_names"] = json.dumps(list(names))
    if (origin := getattr(model, "origin", None)) is not None:
        metadata["origin"] = json.dumps(origin)
    with written(path, "the checkpoint") as draft:
        _write(model.state_dict(), metadata, draft)
    return path.stat().st_size


def _write(state: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> None:
    """Write a safetensors file, equal bytes for equal tensors and metadata.

    The package's own writer keeps a temporary file that outlives a kill, and orders metadata at random.
    """
    names = sorted(state, key=lambda name: (-state[name].element_size(), name))  # so that all are aligned
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name in names:
        start, end = end, end + state[name].numel() * state[name].element_size()
        kind = lookup(DTYPES, str(state[name].dtype), "kind of tensor in a checkpoint")
        header[name] = {"dtype": kind, "shape": list(state[name].shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            flat = state[name].detach().cpu().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().data)


def load_model(
    name: str | nn.Module,
    *,
    weights: str | Path | None = None,
    classes: int | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    seed: int = 0,
    device: str | None = None,
) -> nn.Module:
    """A model in eval mode that maps images in [0, 1] to logits; normalisation is its first layer.

    Args:
        name: a built-in architecture ("resnet20", see `bitproof list models`), "timm:NAME" or "torchvision:NAME";
            "local-dir:FOLDER" of timm, with its own weights and preprocessing; a network of your own as
            "package.module:callable", which is imported and called; or that network itself, whose copy gets the
            weights and what else the file says was done to it.
        weights: a safetensors file, a PyTorch state dict, or a checkpoint that `save_model` wrote (the model
            then comes back as it was saved, quantized too). None = random weights; nothing is ever downloaded.
        classes: number of outputs, where it is not the architecture's own.
        mean, std: normalisation a channel in [0, 1] units, where it is not the architecture's own; of a network of
            your own that does not normalise by itself.
        seed: of random weights.
        device: where to: "cpu", "cuda", "cuda:1", "mps", or "auto" for the first CUDA device where there is one; None
            = the CPU.

    Raises:
        InputError: an unknown name, a device that is not there, a file that is missing, broken, unsafe or does not fit.
    """
    return moved(_loaded(name, weights=weights, classes=classes, mean=mean, std=std, seed=seed), device)


def _loaded(
    name: str | nn.Module,
    *,
    weights: str | Path | None,
    classes: int | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    seed: int,
) -> nn.Module:
    about = _metadata(weights)
    if isinstance(name, nn.Module):
        return _own(name, weights, about, fixed={"classes": classes, "mean": mean, "std": std})
    if about is None:
        return models.build_model(name, weights=weights, classes=classes, mean=mean, std=std, seed=seed)
    assert weights is not None
    if about.architecture != name:
        raise InputError(
            f"{str(weights)!r} holds a {about.architecture}",
            rule=f"the model to load is {name}",
            remedy=f"Load it as {about.architecture!r}, or give a file of {name}",
        )
    if classes is None and (about.classes or 0) > _FEW_CLASSES:
        _check_classes(about, weights, _numbers_in(weights))
    try:
        model = models.build_model(name, classes=classes or about.classes, mean=mean, std=std)
    except InputError as error:
        raise InputError(
            error.what,
            rule=error.rule,
            remedy=f"{error.remedy}; if {name!r} is a network of your own, pass it: load_model(Network(), weights=...)",
        ) from error
    if models.is_own(name):
        model = models.as_brought(model, models.read_weights(weights))
        model.architecture = name  # pyright: ignore - what a subject knows of it
    return _restored(model.eval(), weights, about)


def _own(model: nn.Module, weights: str | Path | None, about: "_About | None", fixed: dict[str, Any]) -> nn.Module:
    """A copy of somebody's own network with what a file holds."""
    given = [name for name, value in fixed.items() if value is not None]
    if weights is None or given:
        raise InputError(
            f"{kind_of(model)} " + (f"with {', '.join(given)}" if given else "without weights"),
            rule="a network of your own is opened as it is, with the weights of a file",
            remedy="Pass weights=, and build the network with the classes and the normalisation that it needs",
        )
    model = copied(model).eval()
    if about is None:
        load_weights(model, weights)
        return model
    return _restored(model, weights, about)


def _restored(model: nn.Module, weights: str | Path, about: "_About") -> nn.Module:
    """The float network with what the file says was done to it, and its weights."""
    stored = _numbers_in(weights)
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
    if about.class_names is not None:
        model.class_names = about.class_names  # pyright: ignore
    return model


def noted_roles(path: str | Path) -> Roles | None:
    """The roles of a model's layers that a checkpoint notes; None where it notes none."""
    about = _metadata(path)
    return next((step for step in reversed(about.structure) if isinstance(step, Roles)), None) if about else None


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
    class_names: tuple[str, ...] | None


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
        names = json.loads(said.get("class_names", "null"))
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise ValueError("its class names are no texts")
        return _About(
            architecture=said["architecture"],
            classes=classes,
            structure=tuple(build(lookup(STEPS, step["type"], "structural step"), step) for step in steps),
            scheme=build(Scheme, json.loads(said["scheme"])) if "scheme" in said else None,
            origin=origin if isinstance(origin, dict) else None,
            class_names=None if names is None else tuple(map(composed, names)),
        )
