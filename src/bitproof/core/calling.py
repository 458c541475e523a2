"""Calling a model: where it lives, and what is said when it cannot take the images or answers nonsense."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bitproof.errors import InputError

Model = Callable[[Tensor], Tensor]
"""Images in [0, 1] to logits."""


@contextmanager
def plain_context() -> Iterator[None]:
    """Computation as models define it, with gradients where they are asked for, whatever the caller has switched on.

    Results are stored as those of a model: they must not follow from an autocast, `no_grad` or `inference_mode` that
    happens to be open around the call.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
    ):
        yield


def forward(model: Model, images: Tensor, name: str) -> Tensor:
    """What the model returns for `images`; where it cannot take them, an `InputError` says so under its `name`.

    The model gets a copy, as some write into what they are given, and the images are for others too.
    """
    try:
        return model(images.clone())
    except InputError:
        raise
    except Exception as error:  # models of other people raise what they like
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"model {name!r} failed on images of shape {tuple(images.shape[1:])} ({said})",
            rule="a model takes the images of the data set that it is tested on",
            remedy="Use a model made for this data set, or another size",
        ) from error


def answer(model: nn.Module, images: Tensor) -> Tensor:
    """What a module returns for images from anywhere, which are brought to its device and into its type of floats."""
    kinds = (p.dtype for p in model.parameters() if p.is_floating_point())
    return forward(model, images.to(device_of(model), next(kinds, images.dtype)), type(model).__name__)


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
