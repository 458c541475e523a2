"""What is known of an architecture before it is built."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from bitproof.errors import InputError

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
        shorter: pixels to which the shorter side of a picture is resized before its centre is cut out, None = not said.
        resize: how, a name in `bitproof.pictures.pixels.RESIZES`.
        source: who says so, for people.
        weights: file of trained weights that come with it.
    """

    build: Callable[[int], nn.Module]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shape: tuple[int, int, int]
    classes: int
    shorter: int | None = None
    resize: str = "pillow-bilinear"
    source: str = ""
    weights: Path | None = None


def check_classes(classes: int) -> int:
    """The number, if it can be that of a classifier's outputs.

    Raises:
        InputError: it cannot.
    """
    if not 2 <= classes <= MOST_CLASSES:
        raise InputError(
            f"classes is {classes}",
            rule=f"a classifier has at least 2, and here at most {MOST_CLASSES:,}",
            remedy="Leave it out, or give the number of outputs",
        )
    return classes
