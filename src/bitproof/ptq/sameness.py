"""Whether a rewrite of a model left its function as it was: shown by what its parts return, not by what they are.

A layer may do more than its class says (standardise its weight, end with an activation, be used for its weight by
another one), and a run shows all of it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bitproof.core.calling import answer
from bitproof.core.copying import copied

TOLERANCE = 1e-3
"""Of the largest value: rounding of float32 leaves a thousandth of it, another function much more."""


@torch.no_grad()
def outputs_of(model: nn.Module, names: list[str], images: Tensor) -> dict[str, Tensor]:
    """What each named module, called once, returns; and under the name of the model itself, "", the logits."""
    found: dict[str, Tensor] = {}

    def keep(name: str, _: nn.Module, args: Any, output: Tensor) -> None:
        found[name] = output.clone()

    found[""] = _hooked(model, {name: partial(keep, name) for name in names}, images)
    return found


@torch.no_grad()
def changed_parts(after: nn.Module, wanted: Mapping[str, Tensor], images: Tensor) -> list[str]:
    """The names under which `after` returns something else than is `wanted`, in order of execution.

    Each named module passes on what is wanted, so that one that is changed does not make the next ones differ.
    """
    changed: list[str] = []

    def compare(name: str, _: nn.Module, args: Any, output: Tensor) -> Tensor:
        if not alike(output, wanted[name]):
            changed.append(name)
        return wanted[name].clone()

    logits = _hooked(after, {name: partial(compare, name) for name in wanted if name}, images)
    return changed if alike(logits, wanted[""]) else [*changed, ""]


def alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal but for rounding."""
    if one.shape != other.shape:
        return False
    size = float(other.abs().amax()) if other.numel() else 0.0
    return bool(((one - other).abs() <= TOLERANCE * size).all())


def _hooked(model: nn.Module, hooks: Mapping[str, Callable[..., Any]], images: Tensor) -> Tensor:
    watched = copied(model).eval()
    for name, hook in hooks.items():
        watched.get_submodule(name).register_forward_hook(hook)
    return answer(watched, images)
