"""What is known of an architecture before it is built."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """An architecture and what its usual weights expect.

    Attributes:
        build: makes the backbone (normalised images to logits) for a number of classes.
        mean, std: normalisation by channel, in units of [0, 1] pixels.
        shape: (channels, height, width) of the usual input.
        classes: their usual number.
    """

    build: Callable[[int], nn.Module]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shape: tuple[int, int, int]
    classes: int
