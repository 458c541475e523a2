"""What every quantizer is: a module that maps a float tensor onto its grid, with a gradient behind it.

The other rooms ask it the rest here, each with an answer for quantizers that have nothing to say: what training adds to
a loss and does after a step, which levels are next to a weight, and which integers the grid is made of.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.errors import InputError
from bitproof.quant.codes import CodeGrid


class Quantizer(nn.Module):
    """Maps a float tensor onto a grid."""

    def penalty(self) -> Float[Tensor, ""]:
        """What its paper adds to the loss, before it is weighted."""
        return torch.zeros(())

    def derived_scales(self, channels: int) -> int:
        """How many scales a file must hold that its state does not, as they follow from the float values."""
        return 1


class WeightQuantizer(Quantizer):
    """Maps the weight of a layer onto a grid."""

    @property
    def limit(self) -> float | None:
        """How far from zero training lets the float weight go; None = anywhere."""
        return None

    def after_step(self, weight: Float[Tensor, "out ..."]) -> None:
        """Change the float weight in place once an optimiser has moved it: clip it to the limit."""
        if self.limit is not None:
            weight.clamp_(-self.limit, self.limit)

    def neighbours(self, weight: Float[Tensor, "out ..."]) -> tuple[Float[Tensor, "out ..."], Float[Tensor, "out ..."]]:
        """Two weights that it maps to the levels next to each weight.

        Raises:
            InputError: a grid that is not fixed, or whose levels near a weight are not next to each other.
        """
        raise InputError(
            f"weights on the grid of {type(self).__name__}",
            rule="rounding is learned between two fixed levels, as in the methods affine and pwlq",
            remedy="Use such a scheme, or rounding 'nearest'",
        )

    def code_scale(self, weight: Float[Tensor, "out ..."]) -> Tensor | str:
        """The scale of the integers that a quantized weight stands for, which broadcasts against it.

        Zero is code 0. Where no integers with one scale a channel exist: the reason why.
        """
        return "bitproof knows no grid of codes for it"


class InputQuantizer(Quantizer):
    """Maps what a layer receives onto a grid.

    Attributes:
        nearest: whether each value goes to the nearest code of its `code_grid`, as integer kernels round.
    """

    nearest: ClassVar[bool] = True

    def code_grid(self) -> CodeGrid | str:
        """The integers that it rounds to, or the reason why there are none."""
        return "bitproof knows no grid of codes for it"

    def fixed_grid(self) -> CodeGrid | None:
        """The grid whose scale was set once and may be set anew by `set_scale`; None where training moves it."""
        return None

    def set_scale(self, scale: Tensor) -> None:
        """Give a `fixed_grid` another scale."""
        raise NotImplementedError(f"{type(self).__name__} has no fixed grid")


def magnitude(weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
    """The scale of weights that are -scale, 0 or scale, by channel."""
    return weight.abs().amax(tuple(range(1, weight.dim())), keepdim=True)
