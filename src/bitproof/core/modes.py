"""The state a model is in while it is looked at, and the promise to leave it as it was found."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bitproof.errors import InputError


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode for every submodule inside the block; each one's own mode again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def forward(model: Callable[[Tensor], Tensor], images: Tensor, name: str) -> Tensor:
    """What the model returns for `images`; where it cannot take them, an `InputError` says so under its `name`."""
    try:
        return model(images)
    except RuntimeError as error:
        raise InputError(
            f"model {name!r} failed on images of shape {tuple(images.shape[1:])} ({str(error).splitlines()[0]})",
            rule="a model takes the images of the data set that it is tested on",
            remedy="Use a model made for this data set, or another size",
        ) from error


def device_of(model: object) -> torch.device:
    """Where the model's parameters live; the CPU for models without any."""
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((p.device for p in parameters), torch.device("cpu"))
