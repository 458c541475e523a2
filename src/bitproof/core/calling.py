"""Calling a model: what it is given, what of its output counts, and what is said when it cannot answer."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bitproof.core.devices import exact
from bitproof.errors import InputError, kind_of

T = TypeVar("T")
Model = Callable[[Tensor], Tensor]
"""Images in [0, 1] to logits."""

ROUNDING = 1e-6
"""By how much values may leave [0, 1]: float32 arithmetic, such as a resize, does so, and a wrong scale by far more."""


class NotFinite(InputError):
    """Logits that are NaN or infinite."""


_PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@contextmanager
def plain_context() -> Iterator[None]:
    """Computation as models define it, with gradients where they are asked for, whatever the caller has switched on.

    Results are stored as those of a model: they must not follow from an autocast, `no_grad`, `inference_mode` or a
    permission to compute with fewer digits (`devices.exact`) that happens to be open around the call. An autocast
    inside caches nothing: it would be kept until the outermost one ends, and training would go on with the weights of
    its first step.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False, cache_enabled=False),
        torch.autocast("cuda", enabled=False, cache_enabled=False),
        exact(),
    ):
        yield


def logits_of(model: Model, images: Tensor) -> Tensor:
    """What a model answers to images [n, c, h, w], however it takes images and returns logits: [n, k] in float32, or
    float64 for such images.

    It gets a copy, as some models write into what they are given, in the floating-point type of its weights.

    Raises:
        InputError: see `logits_in`.
    """
    module = module_of(model)
    kinds = (p.dtype for p in module.parameters() if p.is_floating_point()) if module is not None else iter(())
    kind = next(kinds, images.dtype)
    given = images.to(kind if kind in _PRECISIONS else images.dtype, copy=True)
    return logits_in(model(given), len(images)).to(torch.promote_types(images.dtype, torch.float32))


def logits_in(output: Any, count: int | torch.SymInt) -> Tensor:
    """The logits of `count` images among everything that a model returned.

    A tensor is taken as it is. Of a dict, tuple, list or an object with fields, it is the part called "logits", or the
    only float tensor [count, k]; of any other object, its attribute of that name.

    Raises:
        InputError: no part, or several, can be the logits.
    """
    if isinstance(output, Tensor):
        return output
    named: dict[str, Any] = {}
    if isinstance(output, Mapping):
        named = {str(name): part for name, part in output.items()}
    elif isinstance(output, (tuple, list)):
        named = dict(zip(getattr(output, "_fields", map(str, range(len(output)))), output, strict=True))
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        named = {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    tensors = {name: part for name, part in named.items() if isinstance(part, Tensor)}
    if "logits" in tensors:
        return tensors["logits"]
    if not named and isinstance(logits := getattr(output, "logits", None), Tensor):
        return logits
    fitting = [
        part for part in tensors.values() if part.is_floating_point() and part.dim() == 2 and part.shape[0] == count
    ]
    if len(fitting) == 1:
        return fitting[0]
    shapes = ", ".join(f"{name}: {list(part.shape)}" for name, part in tensors.items())
    raise InputError(
        f"the model returned {kind_of(output)}{f' ({shapes})' if shapes else ''} for {count} images",
        rule="its logits are the one tensor that it returns, the part called 'logits', or the only part of shape"
        " [n, classes]",
        remedy="Wrap it in a module or function that returns the logits alone, such as `lambda images: net(images)[0]`",
    )


def forward(model: Model, images: Tensor, name: str) -> Tensor:
    """`logits_of`; where the model cannot take the images, an `InputError` says so under its `name`."""
    return answering(model, name, images, logits_of)


def answering(model: Model, name: str, images: Tensor, ask: Callable[[Model, Tensor], T]) -> T:
    """What `ask` gets from a model for images; where it cannot take them, an `InputError` says so under its `name`."""
    if device_of(module_of(model)).type == "meta":
        raise InputError(
            f"model {name!r} has weights on the device 'meta'",
            rule="they have shapes and no values there",
            remedy="Load its weights, or make it outside torch.device('meta')",
        )
    try:
        return ask(model, images)
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # models of other people raise what they like
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"model {name!r} failed on images of shape {tuple(images.shape[1:])} ({said})",
            rule="a model takes the images of the data set that it is tested on, in one batch of float32",
            remedy="Use a model made for this data set, or pictures of another size or with other channels "
            "(folder:ROOT,size=224,channels=1)",
        ) from error


def answer(model: nn.Module, images: Tensor) -> Tensor:
    """`forward` of a module for images from anywhere, which are brought to its device."""
    return forward(model, images.to(device_of(model)), type(model).__name__)


def check_logits(logits: Tensor, images: Tensor, who: str = "the model") -> None:
    """Raise `InputError` unless there is a row of finite logits for every image (`NotFinite` where they are not)."""
    if logits.dim() != 2 or len(logits) != len(images):
        raise InputError(
            f"{who} returned shape {tuple(logits.shape)} for {len(images)} images",
            rule="a model maps images [n, c, h, w] to logits [n, classes]",
            remedy="Wrap it in a module or function that does",
        )
    bad = ~torch.isfinite(logits).all(1)
    if bad.any():
        raise NotFinite(
            f"{who} returned NaN or infinity for {int(bad.sum())} of {len(images)} images",
            rule="logits must be finite",
            remedy="Check the model's weights and its normalisation layer",
        )


def check_range(images: Tensor, what: str) -> None:
    """Raise `InputError` for images, called `what`, that leave [0, 1] by more than `ROUNDING`, or hold NaN."""
    low, high = (value.item() for value in torch.aminmax(images)) if images.numel() else (0.0, 0.0)
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # catches NaN too
        raise InputError(
            f"{what} range from {low:.4g} to {high:.4g}",
            rule="images lie in [0, 1]",
            remedy="Divide 8-bit images by 255; normalisation is the model's first layer",
        )


def check_classes(outputs: int, largest: int) -> None:
    """Raise `InputError` unless a model of so many outputs has one for the largest label (or target) of a task."""
    if largest >= outputs:
        raise InputError(
            f"the model has {outputs} outputs, and a label or target is {largest}",
            rule="every class needs an output",
            remedy="Use a model made for this data set",
        )


def module_of(model: Model) -> nn.Module | None:
    """The module that answers behind wrappers, which keep what they wrap as `model`; None for any other callable."""
    while not isinstance(model, nn.Module):
        if not hasattr(model, "model"):
            return None
        model = model.model  # pyright: ignore[reportFunctionMemberAccess]
    return model


def device_of(model: object) -> torch.device:
    """Where the model's parameters live, or its buffers where it has none; the CPU for models without either."""
    tensors = itertools.chain(model.parameters(), model.buffers()) if isinstance(model, nn.Module) else iter(())
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def check_module(model: object) -> None:
    """Raise `InputError` for a model that is no module: it has no layers that could be changed."""
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{kind_of(model)} as a model",
            rule="what changes or copies layers needs the module that they are in",
            remedy="Pass the nn.Module itself; functions can be evaluated and attacked only",
        )


def unwrapped(model: nn.Module) -> nn.Module:
    """The module itself, out of `DataParallel` and `torch.compile`, which run the same layers another way.

    Raises:
        InputError: a model that is no module.
    """
    check_module(model)
    compiled = "_orig_mod"  # how the class that torch.compile returns, which costs seconds to import, keeps the module
    while isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)) or hasattr(model, compiled):
        model = getattr(model, compiled if hasattr(model, compiled) else "module")
    return model
