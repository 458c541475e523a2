"""Running a model up to one of its modules, which is how layers are set right one after the other."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bitproof.core.calling import answer

BATCH = 128


class _Reached(BaseException):
    """No error: the pass has gone far enough. Not one of those that a failing model is told by."""


def received(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """What a module was called with first, by place or by keyword, in float32."""
    return (args[0] if args else next(iter(kwargs.values()))).float()


@torch.no_grad()
def run_until(model: nn.Module, name: str, images: Tensor, see: Callable[[Tensor, Tensor], None]) -> None:
    """Show `see` what the named module receives and returns, in float32, batch by batch, and run no further."""

    def show(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        see(received(args, kwargs), output.float())
        raise _Reached

    hook = model.get_submodule(name).register_forward_hook(show, with_kwargs=True)
    try:
        for batch in images.split(BATCH):
            try:
                answer(model, batch)
            except _Reached:
                continue
    finally:
        hook.remove()


class Moments:
    """Mean and variance of each channel of a stream of tensors, in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._sum: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0

    def add(self, values: Tensor, *, channels: int = 1) -> None:
        """Count more values; `channels` is their dimension of channels."""
        rows = values.detach().movedim(channels, 0).flatten(1).double()
        self._count += rows.shape[1]
        self._sum += rows.sum(1)
        self._squares += rows.square().sum(1)

    @property
    def mean(self) -> Tensor:
        return torch.as_tensor(self._sum) / self._count

    @property
    def variance(self) -> Tensor:
        """Population variance."""
        return (torch.as_tensor(self._squares) / self._count - self.mean.square()).clamp(min=0)
