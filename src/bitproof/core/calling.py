"""Calling a model: where it lives, and what is said when it cannot take the images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bitproof.errors import InputError


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
