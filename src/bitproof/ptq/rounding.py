"""Rounding as a variable (AdaRound, Nagel et al. 2020, arXiv 2004.10568).

A weight between two levels of its grid becomes near + h(V) (far - near), with

    h(V) = clip(1.2 sigmoid(V) - 0.1, 0, 1)                    Eq. 23: the rectified sigmoid, zeta = 1.1, gamma = -0.1
    R(V) = sum 1 - |2 h(V) - 1|^beta                           Eq. 24: zero where every h is 0 or 1

V starts where h gives the float weight. beta falls from 20 to 2, so that first those h move that want to, and in
the end all of them go to a side.
"""

import abc

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.quant.quantizer import WeightQuantizer

STRETCH, SHIFT = 1.2, -0.1
BETA = (20.0, 2.0)


def rectified_sigmoid(v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """h(V), from 0 (the one level) to 1 (the other).

    Example:
        >>> [round(h, 3) for h in rectified_sigmoid(torch.tensor([-3.0, 0.0, 1.0, 3.0])).tolist()]
        [0.0, 0.5, 0.777, 1.0]
    """
    return (STRETCH * v.sigmoid() + SHIFT).clamp(0, 1)


def inverse_sigmoid(h: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The V with h(V) = h, for h in [0, 1]."""
    return ((h - SHIFT) / STRETCH).logit()


def undecided(h: Float[Tensor, "..."], beta: float) -> Float[Tensor, ""]:
    """R(V): how far the h are from 0 and 1."""
    return (1 - (2 * h - 1).abs().pow(beta)).sum()


def between_levels(
    quantizer: WeightQuantizer, weight: Float[Tensor, "..."]
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."], Float[Tensor, "..."]]:
    """For each weight two that are mapped to the levels around it, and the share of the way between them at which it
    lies: 0 where there is no way.

    Raises:
        InputError: a quantizer without `neighbours`.
    """
    near, far = quantizer.neighbours(weight)
    width = far - near
    return near, far, torch.where(width != 0, (weight - near) / width, torch.zeros_like(weight)).clamp(0, 1)


class LearnedRounding(nn.Module, abc.ABC):
    """Takes the place of a weight's quantizer while its rounding is learned.

    Attributes:
        low, gap: of each weight the one level, and the way from there to the other.
        share: of this way at which the float weight lies.

    Args:
        quantizer: of the weight.
        weight: the float weight.

    Raises:
        InputError: a quantizer without `neighbours`.
    """

    def __init__(self, quantizer: WeightQuantizer, weight: Tensor) -> None:
        super().__init__()
        self.quantizer = [quantizer]  # not a submodule
        self._near, self._far, self.share = between_levels(quantizer, weight.detach())
        low, high = quantizer(self._near), quantizer(self._far)
        self.low, self.gap = low.detach(), (high - low).detach()
        self.v = nn.Parameter(self.start(self.share))

    @abc.abstractmethod
    def start(self, share: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The V whose h is the share of the way from the one level to the other at which a weight lies."""

    @abc.abstractmethod
    def h(self) -> Float[Tensor, "..."]:
        """Where each weight is between its two levels, from 0 to 1."""

    @abc.abstractmethod
    def penalty(self, done: float) -> Float[Tensor, ""]:
        """What is minimised beside the error, after a share of the steps."""

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self.low + self.h() * self.gap

    def hard(self) -> Float[Tensor, "..."]:
        """The float weight that the quantizer rounds to where each h is heading."""
        return torch.where(self.v >= 0, self._far, self._near).detach()


CERTAIN = 1e-4
"""How near to a level a weight may start under a plain sigmoid: an infinite V would never leave it."""


class SoftRounding(LearnedRounding):
    """AdaRound's: a rectified sigmoid, and R."""

    def start(self, share: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return inverse_sigmoid(share)

    def h(self) -> Float[Tensor, "..."]:
        return rectified_sigmoid(self.v)

    def penalty(self, done: float) -> Float[Tensor, ""]:
        return undecided(self.h(), BETA[0] + (BETA[1] - BETA[0]) * done)


class PlainRounding(SoftRounding):
    """AdaRound's with a sigmoid that is not stretched, as in QuRA's public code (arXiv 2510.09647)."""

    def start(self, share: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return share.clamp(CERTAIN, 1 - CERTAIN).logit()

    def h(self) -> Float[Tensor, "..."]:
        return self.v.sigmoid()
