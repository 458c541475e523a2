"""How other code bases hand images over, which their models expect: scales, normalisations, the order of colours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from bitproof.models.normalize import Normalize
from bitproof.models.spec import CIFAR10_MEAN, CIFAR10_STD, IMAGENET_MEAN, IMAGENET_STD

_CIFAR10_STD = (0.2470, 0.2435, 0.2616)
"""The other std that public code has: over all pixels, where `CIFAR10_STD` is a mean over images."""

_CAFFE = (104 / 255, 117 / 255, 123 / 255)  # blue, green, red


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form of images that is not ours, which is [0, 1] in the order red, green, blue.

    Attributes:
        text: what it is, for people.
        remedy: how the model gets it.
        change: from images in [0, 1].
        colours: whether it alone changes the order of colours.
    """

    text: str
    remedy: str
    change: Callable[[Tensor], Tensor]
    colours: bool = False


def usual_normalisations(channels: int) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Mean and std of images with so many channels that many code bases normalise by, by what is said of them."""
    found = {"0.5 and 0.5": ((0.5,) * channels, (0.5,) * channels)}
    if channels == 3:
        found["ImageNet's mean and std"] = IMAGENET_MEAN, IMAGENET_STD
        found["CIFAR-10's mean and std"] = CIFAR10_MEAN, CIFAR10_STD
        found["CIFAR-10's mean and its std over all pixels"] = CIFAR10_MEAN, _CIFAR10_STD
    if channels == 1:
        found["MNIST's mean and std"] = (0.1307,), (0.3081,)
    return found


def usual_forms(channels: int) -> list[Form]:
    """Other ways to hand images of so many channels over."""
    found = [
        Form(
            text="pixels from 0 to 255",
            remedy=_normalisation((0.0,) * channels, (1 / 255,) * channels),
            change=lambda images: images * 255,
        )
    ]
    for text, (mean, std) in usual_normalisations(channels).items():
        form = Form(
            text=f"images that are normalised by {text}",
            remedy=_normalisation(mean, std),
            change=normaliser(mean, std),
        )
        found.append(form)
    if channels == 3:
        wrapped = "wrap it so that it gets them: `lambda images: net(images.flip(1))`"
        caffe = normaliser(_CAFFE, (1 / 255,) * 3)
        found += [
            Form(
                text="blue, green and red in this order",
                remedy=wrapped,
                change=lambda images: images.flip(1),
                colours=True,
            ),
            Form(
                text="blue, green and red from 0 to 255",
                remedy=wrapped.replace("flip(1)", "flip(1) * 255"),
                change=lambda images: images.flip(1) * 255,
            ),
            Form(
                text="blue, green and red from 0 to 255 less 104, 117 and 123, as in Caffe",
                remedy="wrap it so that it gets them",
                change=lambda images: caffe(images.flip(1)),
            ),
        ]
    return found


def forms(model: nn.Module, channels: int) -> list[Form]:
    """Other ways to hand images over that a model may have been trained with: the usual ones, and what it gets behind a
    normalisation of ours without that."""
    before = next((part for part in model.modules() if isinstance(part, Normalize)), None)
    if before is None:
        return usual_forms(channels)
    return [undone("images without the normalisation before it", before.mean, before.std), *usual_forms(channels)]


def undone(text: str, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> Form:
    """The form that a model gets which normalises by itself, behind a normalisation by `text` as it is here."""

    def change(images: Tensor) -> Tensor:
        means, stds = (_by_channel(values, images) for values in (mean, std))
        return images * stds + means

    return Form(
        text=text, remedy="it seems to normalise by itself: leave the normalisation before it out", change=change
    )


def normaliser(mean: Sequence[float], std: Sequence[float]) -> Callable[[Tensor], Tensor]:
    """(x - mean) / std by channel."""
    return lambda images: (images - _by_channel(mean, images)) / _by_channel(std, images)


def _by_channel(values: Sequence[float] | Tensor, images: Tensor) -> Tensor:
    given = values.to(images) if isinstance(values, Tensor) else images.new_tensor(values)
    return given.view(-1, 1, 1)


def _normalisation(mean: Sequence[float], std: Sequence[float]) -> str:
    """How a model is put behind a normalisation."""
    means, stds = (",".join(f"{value:.4g}" for value in values) for values in (mean, std))
    return (
        f"use --mean {means} --std {stds} (of a deployed file beside MODEL, --deployed-mean and --deployed-std), "
        "in Python bp.models.normalized(net, mean, std), or put its own mean and std there"
    )
