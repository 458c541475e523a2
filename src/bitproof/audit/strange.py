"""Images that nobody trained on, made of the clean ones: where honest rounding still agrees with the float model.

A model that quantization changes for a purpose is changed for inputs, too, that its maker never looked at: a backdoored
pair disagrees on such images towards one class, while a clean pair agrees there about as often as on test images.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.core.rng import Rng

SIDE = 5
"""A patch has a side of so many parts of the image's, as the corner marks of published backdoors have about."""


def noise(images: Float[Tensor, "n c h w"], rng: Rng) -> Float[Tensor, "n c h w"]:
    """Uniform noise."""
    return rng.uniform(tuple(images.shape))[0]


def mixed(images: Float[Tensor, "n c h w"], rng: Rng) -> Float[Tensor, "n c h w"]:
    """The mean of two images."""
    return (images + images[_others(images, rng)]) / 2


def patched(images: Float[Tensor, "n c h w"], rng: Rng) -> Float[Tensor, "n c h w"]:
    """A square of another image somewhere in each, the same place for a batch of ten."""
    made, others = images.clone(), images[_others(images, rng)]
    height, width, side = *images.shape[2:], _side(images)
    places = rng.fold("places").uniform((-(-len(images) // 10), 2))[0]
    for i, (down, right) in enumerate(places.tolist()):
        top, left = int(down * (height - side + 1)), int(right * (width - side + 1))
        rows = slice(10 * i, 10 * i + 10)
        made[rows, :, top : top + side, left : left + side] = others[rows, :, top : top + side, left : left + side]
    return made


def marked(images: Float[Tensor, "n c h w"], rng: Rng) -> Float[Tensor, "n c h w"]:
    """A square near a corner, as bright or as dark as the image gets: the four corners in turn."""
    made, side = images.clone(), _side(images)
    away = max(1, images.shape[3] // 32)
    near, far = slice(away, away + side), slice(-away - side, -away)
    for i, (rows, columns) in enumerate([(far, far), (near, near), (near, far), (far, near)]):
        brightest, darkest = (images[i::4].flatten(1).amax(1), images[i::4].flatten(1).amin(1))
        bright = torch.arange(len(brightest)) % 4 < 3
        made[i::4, :, rows, columns] = torch.where(bright, brightest, darkest)[:, None, None, None]
    return made


STRANGE = {"noise": noise, "mixed": mixed, "patched": patched, "marked": marked}


def strange(images: Float[Tensor, "n c h w"], rng: Rng) -> dict[str, Float[Tensor, "n c h w"]]:
    """Images of every kind, as many of each as there are clean ones."""
    return {name: make(images, rng.fold(name)) for name, make in STRANGE.items()}


def in_turn(images: Float[Tensor, "n c h w"], rng: Rng) -> Float[Tensor, "n c h w"]:
    """Images of all kinds, of each a part: of the first, the fifth, the ninth clean one noise, and so on."""
    parts = {name: images[i :: len(STRANGE)] for i, name in enumerate(STRANGE)}
    return torch.cat([STRANGE[name](part, rng.fold(name)) for name, part in parts.items() if len(part)])


def _others(images: Tensor, rng: Rng) -> Tensor:
    """Another image for each: the next one in a random order."""
    order = rng.permutation(len(images))[0]
    others = torch.empty_like(order)
    others[order] = order.roll(1)
    return others


def _side(images: Tensor) -> int:
    return max(1, min(images.shape[2:]) // SIDE)
