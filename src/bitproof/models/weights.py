"""Reading weights from files of strangers: tensors only, checked before any of them is used."""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from bitproof.core.saved import read_saved
from bitproof.errors import InputError, kind_of
from bitproof.reading import refusing

_SHOWN = 3  # names listed in an error, of each kind


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a state dict file, on the CPU; nothing in the file is run.

    `.safetensors` is read as such, anything else as a file of `torch.save` (`bitproof.core.saved`). A state dict may
    lie beside other things, as in `{"state_dict": ..., "epoch": 3}`. A leading `module.` (of nn.DataParallel) and
    `_orig_mod.` (of torch.compile) are taken off the names.

    Raises:
        InputError: a file that is missing, empty, damaged, that holds no flat dictionary of dense tensors or several
            of them, or a tensor with NaN or infinity.
    """
    path = Path(path).expanduser()
    if not path.is_file() or path.stat().st_size == 0:
        raise InputError(
            f"weights {str(path)!r}",
            rule="they must be a file that is not empty" if path.exists() else "the file does not exist",
            remedy="Check the path",
        )
    with refusing(
        path,
        rule="weights are safetensors, or a state dict of torch.save with dense tensors alone; "
        "nothing else in a file is ever run",
        remedy=_SAVE,
    ):
        stored = load_file(path) if path.suffix == ".safetensors" else read_saved(path)
    if not isinstance(stored, Mapping) or not stored:
        raise InputError(
            f"{path} holds {_kind(stored)}", rule="a flat dictionary of named tensors is needed", remedy=_SAVE
        )
    stored = _state_dict(path, stored)
    for name, tensor in stored.items():
        _check(path, name, tensor)
    for prefix in _WRAPPERS:
        if all(name.startswith(prefix) for name in stored):
            stored = {name.removeprefix(prefix): tensor for name, tensor in stored.items()}
    return {name: tensor.detach() for name, tensor in stored.items()}


_SAVE = (
    "Where you trust it, load it in PyTorch and save only its weights: "
    "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
)


_WRAPPERS = ("module.", "_orig_mod.", "module.")


def _state_dict(path: Path, stored: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The state dict among what a file of training keeps; what the file holds where that is one, or has none inside.

    Raises:
        InputError: several of them, such as one of a running mean beside the last one.
    """
    if any(isinstance(value, Tensor) for value in stored.values()):
        return stored
    found = {
        name: value
        for name, value in stored.items()
        if isinstance(value, Mapping) and value and all(isinstance(part, Tensor) for part in value.values())
    }
    if len(found) > 1:
        raise InputError(
            f"{path} holds several state dicts ({', '.join(map(str, found))})",
            rule="one is tested",
            remedy="Save the one that you mean by itself: torch.save(stored[NAME], 'model.pt')",
        )
    return next(iter(found.values()), stored)


def _kind(value: object) -> str:
    return "an empty dictionary" if value == {} else kind_of(value)


def _check(path: Path, name: object, tensor: object) -> None:
    if not isinstance(name, str) or not isinstance(tensor, Tensor):
        raise InputError(
            f"{path} holds a {type(tensor).__name__} under {reprlib.repr(name)}",
            rule="a flat dictionary of named tensors is needed",
            remedy=_SAVE,
        )
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
    """`load_weights` for weights that were read already; errors call them `source`.

    One more word before all of their names, such as `model.`, is what a wrapper called the network.
    """
    wanted = model.state_dict()
    weights = _without_prefix(weights, wanted)
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


def _without_prefix(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The weights without the name that a wrapper of somebody's own had for the network (`model.`, `net.`)."""
    prefix = next(iter(weights), "").partition(".")[0] + "."
    if not all(name.startswith(prefix) for name in weights):
        return weights
    bare = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return bare if bare.keys() <= wanted.keys() and not weights.keys() <= wanted.keys() else weights


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.is_floating_point() == other.is_floating_point()


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _first(title: str, names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return title + ", ".join(names[:_SHOWN]) + more
