"""Calling a model: where it lives, and what is said when it cannot take the images or answers nonsense."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bitproof.errors import InputError

Model = Callable[[Tensor], Tensor]
"""Images in [0, 1] to logits."""


def forward(model: Model, images: Tensor, name: str) -> Tensor:
    """What the model returns for `images`; where it cannot take them, an `InputError` says so under its `name`."""
    try:
        return model(images)
    except InputError:
        raise
    except Exception as error:  # models of other people raise what they like
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"model {name!r} failed on images of shape {tuple(images.shape[1:])} ({said})",
            rule="a model takes the images of the data set that it is tested on",
            remedy="Use a model made for this data set, or another size",
        ) from error


def check_logits(logits: Tensor, images: Tensor, who: str = "the model") -> None:
    """Raise `InputError` unless there is a row of finite logits for every image."""
    if logits.dim() != 2 or len(logits) != len(images):
        raise InputError(
            f"{who} returned shape {tuple(logits.shape)} for {len(images)} images",
            rule="a model maps images [n, c, h, w] to logits [n, classes]",
            remedy="Wrap it so that it does",
        )
    bad = ~torch.isfinite(logits).all(1)
    if bad.any():
        raise InputError(
            f"{who} returned NaN or infinity for {int(bad.sum())} of {len(images)} images",
            rule="logits must be finite",
            remedy="Check the model's weights and its normalisation layer",
        )


def module_of(model: Model) -> nn.Module | None:
    """The module that answers behind wrappers, which keep what they wrap as `model`; None for any other callable."""
    while not isinstance(model, nn.Module):
        if not hasattr(model, "model"):
            return None
        model = model.model  # pyright: ignore[reportFunctionMemberAccess]
    return model


def device_of(model: object) -> torch.device:
    """Where the model's parameters live; the CPU for models without any."""
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((p.device for p in parameters), torch.device("cpu"))
