"""Ternary weights: TWN (Li & Liu 2016, arXiv 1605.04711) and TTQ (Zhu et al. 2017, arXiv 1612.01064).

    TWN  Delta = 0.7 mean|w|,  alpha = mean of |w| over |w| > Delta
         w_t = alpha sign(w) where |w| > Delta, else 0;  dw_t/dw = 1
    TTQ  Delta = 0.05 max|w|,  w_t = W_p above Delta, 0 between, -W_n below -Delta        Eq. 6, 9
         dL/dW_p = sum over w > Delta of dL/dw_t,  dL/dW_n = -sum over w < -Delta          Eq. 7
         dL/dw = dL/dw_t times W_p above, 1 between, W_n below                             Eq. 8

Both one grid a layer; activations stay float. Eq. 7 is printed without the minus, with which training
would climb the loss. W_p and W_n start at the mean magnitude of the weights they replace.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bitproof.core.ste import straight_through
from bitproof.quant.method import Method
from bitproof.quant.quantizer import WeightQuantizer, magnitude


class TWNWeights(WeightQuantizer):
    """Weights onto -alpha, 0, alpha; the gradient passes unchanged.

    Example:
        >>> w = torch.tensor([-3.0, -0.5, 0.5, 4.0], requires_grad=True)  # Delta = 1.4
        >>> y = TWNWeights()(w); y.sum().backward()
        >>> y.tolist(), w.grad.tolist()
        ([-3.5, 0.0, 0.0, 3.5], [1.0, 1.0, 1.0, 1.0])
    """

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        size = weight.abs()
        large = size > 0.7 * size.mean()
        return straight_through(weight, _mean(size, large) * weight.sign() * large)

    def code_scale(self, weight: Float[Tensor, "out ..."]) -> Tensor | str:
        return magnitude(weight)


class TTQWeights(WeightQuantizer):
    """Weights onto -W_n, 0, W_p with both scales learned.

    Args:
        weight: the float weight, from which the scales start.

    Example:
        >>> w = torch.tensor([-3.0, 0.1, 2.0, 4.0], requires_grad=True)  # Delta = 0.2
        >>> quantizer = TTQWeights(w)
        >>> y = quantizer(w); (y * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
        >>> y.tolist(), w.grad.tolist(), quantizer.positive.grad.item(), quantizer.negative.grad.item()
        ([-3.0, 0.0, 3.0, 3.0], [3.0, 2.0, 9.0, 12.0], 7.0, -1.0)
    """

    def __init__(self, weight: Float[Tensor, "..."]) -> None:
        super().__init__()
        weight = weight.detach()
        above, below = _outside(weight)
        self.positive = nn.Parameter(_mean(weight, above))
        self.negative = nn.Parameter(_mean(-weight, below))

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return _LearnedTernary.apply(weight, self.positive, self.negative)  # type: ignore[no-any-return]

    def code_scale(self, weight: Float[Tensor, "out ..."]) -> Tensor | str:
        return "its weights have two scales, and integer kernels have one a channel"


class _LearnedTernary(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight, positive, negative):
        ctx.save_for_backward(weight, positive, negative)
        above, below = _outside(weight)
        return positive * above - negative * below

    @staticmethod
    def backward(ctx, *grad_outputs):
        (gradient,) = grad_outputs
        weight, positive, negative = ctx.saved_tensors
        above, below = _outside(weight)
        slope = positive * above + negative * below + ~(above | below)
        return gradient * slope, (gradient * above).sum(), -(gradient * below).sum()


def _outside(weight: Float[Tensor, "..."]) -> tuple[Bool[Tensor, "..."], Bool[Tensor, "..."]]:
    threshold = 0.05 * weight.abs().max()
    return weight > threshold, weight < -threshold


def _mean(values: Float[Tensor, "..."], chosen: Bool[Tensor, "..."]) -> Float[Tensor, ""]:
    """The mean of the chosen values; 0 where none is."""
    return (values * chosen).sum() / chosen.sum().clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class TWN(Method):
    """TWN's ternary weights with one scale a layer, for training."""

    name = "twn"
    weight_bits = range(2, 3)

    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        return TWNWeights()


@dataclass(frozen=True, kw_only=True)
class TTQ(Method):
    """TTQ's ternary weights with two learned scales a layer, for training."""

    name = "ttq"
    weight_bits = range(2, 3)

    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        return TTQWeights(weight)
