"""Normalisation as the model's first layer, so that every attack, shift and defence works in [0, 1] pixels."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.errors import InputError

_LARGEST = 2.0
"""Mean or std that is taken for one of [0, 1] pixels, whose largest are 1 and 0.5."""


class Normalize(nn.Module):
    """(x - mean) / std by channel, for x in [0, 1].

    Raises:
        InputError: no or unequally many numbers, a std that is not positive, a mean that is not finite, or numbers of
            the 0..255 scale.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        means, stds = torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)
        finite = bool(means.isfinite().all() and stds.isfinite().all())
        if not (len(means) == len(stds) > 0 and finite and (stds > 0).all()):
            raise InputError(
                f"mean is {tuple(mean)} and std {tuple(std)}",
                rule="there must be one finite mean and one positive std a channel",
                remedy="Give both in units of [0, 1] pixels, for example 0.485,0.456,0.406 and 0.229,0.224,0.225",
            )
        if max(*means.abs().tolist(), *stds.tolist()) > _LARGEST:
            raise InputError(
                f"mean is {tuple(mean)} and std {tuple(std)}",
                rule="both are in units of [0, 1] pixels, and these look like the 0..255 scale",
                remedy="Divide both by 255",
            )
        self.register_buffer("mean", means.view(-1, 1, 1))
        self.register_buffer("std", stds.view(-1, 1, 1))

    def forward(self, inputs: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        if inputs.shape[1] != len(self.mean):  # which would be spread over the channels without a word
            raise InputError(
                f"images of {inputs.shape[1]} channels",
                rule=f"the model takes {len(self.mean)} (its normalisation has as many numbers)",
                remedy="Use a model made for this data set",
            )
        return (inputs - self.mean) / self.std

    def extra_repr(self) -> str:
        return f"mean={_short(self.mean)}, std={_short(self.std)}"


def _short(values: Tensor) -> list[float]:
    return [round(value, 6) for value in values.flatten().tolist()]


def normalized(backbone: nn.Module, mean: Sequence[float], std: Sequence[float]) -> nn.Sequential:
    """A model of [0, 1] images from one of normalised images; its layers are called normalize and backbone."""
    return nn.Sequential(OrderedDict(normalize=Normalize(mean, std), backbone=backbone))
