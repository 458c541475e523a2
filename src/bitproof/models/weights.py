"""Reading weights from files of strangers: tensors only, checked before any of them is used."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from bitproof.errors import InputError

_SHOWN = 3  # names listed in an error, of each kind


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a state dict file, on the CPU; nothing in the file is run.

    `.safetensors` is read as such, anything else as a file of `torch.save` with `weights_only=True`. A
    leading `module.` (of nn.DataParallel) is taken off the names.

    Raises:
        InputError: a file that is missing, empty, damaged, that holds anything but a flat dictionary of
            dense tensors, or a tensor with NaN or infinity.
    """
    path = Path(path).expanduser()
    if not path.is_file() or path.stat().st_size == 0:
        raise InputError(
            f"weights {str(path)!r}",
            rule="they must be a file that is not empty" if path.exists() else "the file does not exist",
            remedy="Check the path",
        )
    try:
        stored = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # damaged files make both readers raise almost anything
        raise InputError(
            f"{path} cannot be read ({_reason(error)})",
            rule="weights are safetensors, or a state dict of torch.save; nothing else in a file is ever run",
            remedy=_SAVE,
        ) from error
    if not isinstance(stored, Mapping) or not stored:
        raise InputError(
            f"{path} holds {_kind(stored)}", rule="a flat dictionary of named tensors is needed", remedy=_SAVE
        )
    for name, tensor in stored.items():
        _check(path, name, tensor)
    prefix = "module." if all(name.startswith("module.") for name in stored) else ""
    return {name.removeprefix(prefix): tensor.detach() for name, tensor in stored.items()}


_SAVE = (
    "Where you trust it, load it in PyTorch and save only its weights: "
    "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
)


def _reason(error: Exception) -> str:
    """Why a file was refused, without torch's advice to read it with `weights_only=False`."""
    if isinstance(error, SafetensorError):
        return str(error)
    forbidden = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"it names {forbidden[1]}" if forbidden else "it is damaged or no file of torch.save"


def _kind(value: object) -> str:
    return "an empty dictionary" if value == {} else f"a {type(value).__name__}"


def _check(path: Path, name: object, tensor: object) -> None:
    if not isinstance(name, str) or not isinstance(tensor, Tensor):
        raise InputError(
            f"{path} holds a {type(tensor).__name__} under {name!r}",
            rule="a flat dictionary of named tensors is needed",
            remedy=_SAVE,
        )
    # A tensor may claim any shape over a few stored numbers (stride 0), and reading it would fill the memory.
    dense = tensor.device.type == "cpu" and tensor.layout is torch.strided
    if not dense or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise InputError(f"{name!r} in {path}", rule="weights must be dense tensors, stored in full", remedy=_SAVE)
    if tensor.is_floating_point() and not tensor.float().isfinite().all():
        raise InputError(
            f"{name!r} in {path} holds NaN or infinity",
            rule="weights must be finite in float32",
            remedy="Use a checkpoint from before training diverged",
        )


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Put the weights of a file into `model`, all of them or none.

    BatchNorm's `num_batches_tracked`, which inference does not use, may be absent.

    Raises:
        InputError: as `read_weights`, or names, shapes or kinds (float or integer) that do not match.
    """
    fill(model, read_weights(path), str(path))


def fill(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """`load_weights` for weights that were read already; errors call them `source`."""
    wanted = model.state_dict()
    missing = [n for n in wanted if n not in weights and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in weights if n not in wanted]
    shapes = [
        f"{n} is {_describe(weights[n])} in the file and {_describe(wanted[n])} in the model"
        for n in wanted
        if n in weights and not _alike(weights[n], wanted[n])
    ]
    problems = [("missing: ", missing), ("unexpected: ", unexpected), ("", shapes)]
    if any(names for _, names in problems):
        raise InputError(
            f"{source} does not fit {type(model).__name__} ({'; '.join(_first(*p) for p in problems if p[1])})",
            rule="names, shapes and kinds must be those of the model",
            remedy="Check the architecture and the number of classes",
        )
    model.load_state_dict(weights, strict=False)


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.is_floating_point() == other.is_floating_point()


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _first(title: str, names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return title + ", ".join(names[:_SHOWN]) + more
