"""What is known of an architecture before it is built."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2023, 0.1994, 0.2010)
"""As in most public code: the mean over images of their std, which is smaller than that over all pixels (.247)."""

TINY_IMAGENET_MEAN = (0.4802, 0.4481, 0.3975)
TINY_IMAGENET_STD = (0.2302, 0.2265, 0.2262)
"""As in the public code of hong2021."""

MOST_CLASSES = 1_000_000
"""Outputs that may be asked for. A file of a few bytes could ask for terabytes."""


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
