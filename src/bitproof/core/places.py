"""Where a square lies on an image, and images with one on them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bitproof.core.rng import Rng
from bitproof.errors import InputError

PLACES = ("corner", "centre", "any")
"""The lower right corner, the middle, or a place that is drawn for each image."""


def check_fit(side: int, shape: Sequence[int]) -> None:
    """Raise `InputError` for a square that is larger than images [h, w] = `shape`."""
    if side > min(shape):
        raise InputError(
            f"a patch of {side} pixels on images of {shape[0]}x{shape[1]}",
            rule="a patch lies inside the image",
            remedy=f"Use side={max(1, min(shape) // 4)}",
        )


def places_of(rng: Rng, place: str, side: int, shape: Sequence[int], count: int) -> Int[Tensor, "m 2"]:
    """Upper left corners of a square, `count` for each example of `rng`, those of one side by side.

    Args:
        place: a name in `PLACES`.
        shape: of the images, [h, w].
    """
    room = torch.tensor([shape[0] - side, shape[1] - side])
    if place == "any":
        return (rng.uniform((count, 2)).double() * (room + 1)).long().flatten(0, 1)
    return (room if place == "corner" else room // 2).expand(len(rng) * count, 2)


def placed(
    images: Float[Tensor, "n c h w"], squares: Float[Tensor, "n c s s"], places: Int[Tensor, "n 2"]
) -> Float[Tensor, "n c h w"]:
    """The images with their squares; gradients reach them.

    Example:
        >>> placed(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 1, 1), torch.tensor([[0, 1]])).tolist()
        [[[[0.0, 1.0], [0.0, 0.0]]]]
    """
    side, at = squares.shape[2], places.to(images.device)
    rows = at[:, 0, None, None] + torch.arange(side, device=images.device)[:, None]
    columns = at[:, 1, None, None] + torch.arange(side, device=images.device)
    flat = (rows * images.shape[3] + columns).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).scatter(2, flat, squares.flatten(2)).view(images.shape)
