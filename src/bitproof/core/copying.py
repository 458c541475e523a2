"""Copies of models: everything works on a copy, so that what a caller handed over stays as it was."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from bitproof.core.calling import check_module
from bitproof.core.devices import device_named
from bitproof.errors import InputError

M = TypeVar("M", bound=nn.Module)


def copied(model: M) -> M:
    """A deep copy of a module.

    What modules keep of an earlier call with its gradient history (features; weights that a hook computes, as the old
    `weight_norm`, `spectral_norm` and pruning do) is copied without that history.

    Raises:
        InputError: a function, or a module that holds something that cannot be copied.
    """
    check_module(model)
    seen: set[int] = set()
    kept = [tensor for module in model.modules() for tensor in _with_history(vars(module), seen)]
    try:
        with torch.no_grad():  # or the weights of a scripted copy would be functions of the original's
            made = copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in kept})
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise InputError(
            f"a model that cannot be copied ({str(error).splitlines()[0]})",
            rule="everything works on copies, so that your model stays as it is",
            remedy="Do not keep open files, locks, generators or tensors with a gradient history in it",
        ) from error
    for own, other in zip(model.parameters(), made.parameters(), strict=True):
        other.requires_grad_(own.requires_grad)
    return made


def moved(model: M, device: str | torch.device | None) -> M:
    """A copy on the device that is meant (`devices.device_named`); the model itself where none is, or it is there.

    What has no parameters, such as a session of a runtime, stays where it computes.

    Raises:
        InputError: a device that is not there, or a module that cannot be copied.
    """
    if device is None:
        return model
    wanted = device_named(device) if isinstance(device, str) else device
    elsewhere = isinstance(model, nn.Module) and any(parameter.device != wanted for parameter in model.parameters())
    return copied(model).to(wanted) if elsewhere else model


def _with_history(value: Any, seen: set[int]) -> Iterator[torch.Tensor]:
    """The tensors that were computed with gradients, in containers and objects that are no modules."""
    if isinstance(value, torch.Tensor):
        if value.grad_fn is not None:
            yield value
        return
    if isinstance(value, (nn.Module, type, str, bytes)) or id(value) in seen:
        return
    seen.add(id(value))
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list, set)) else ()
    for part in (*inner, *getattr(value, "__dict__", {}).values()):
        yield from _with_history(part, seen)
