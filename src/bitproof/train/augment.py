"""Augmentations of training images, drawn by position and epoch and not by batch."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from bitproof.errors import InputError

PADDING = 4


def crop_flip(
    images: Float[Tensor, "n c h w"], draws: Float[Tensor, "n 3"], *, border: str = "constant"
) -> Float[Tensor, "n c h w"]:
    """Shift each image by up to 4 pixels each way over black, and mirror every other one (He et al. 2016, Section 4.2).

    Args:
        images: in [0, 1].
        draws: uniform in [0, 1): for the vertical shift, the horizontal shift, and the mirroring.
        border: what moves into the image: "constant" for black, or "reflect" for its own mirror image (Zagoruyko &
            Komodakis 2016, Section 3).
    """
    _, _, height, width = images.shape
    if border == "reflect" and min(height, width) <= PADDING:
        raise InputError(
            f"crop-flip-reflect of images of {height} x {width} pixels",
            rule=f"the mirror image of the border has {PADDING} pixels, so the image has more",
            remedy="Use the augmentation 'crop-flip' or 'none'",
        )
    top, left = (draws[:, :2] * (2 * PADDING + 1)).long().unbind(1)
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    columns = torch.where(draws[:, 2:] < 0.5, columns, columns.flip(1))
    padded = F.pad(images, [PADDING] * 4, border).permute(0, 2, 3, 1)
    at = torch.arange(len(images))
    return padded[at[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def none(images: Float[Tensor, "n c h w"], draws: Float[Tensor, "n 3"]) -> Float[Tensor, "n c h w"]:
    """The images as they are."""
    return images


AUGMENTATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "none": none,
    "crop-flip": crop_flip,
    "crop-flip-reflect": partial(crop_flip, border="reflect"),
}
