"""DoReFa-Net quantizers (Zhou et al. 2016, arXiv 1606.06160, Eq. 5, 7-10 and 12).

    quantize_k(r) = round((2^k - 1) r) / (2^k - 1)                      r in [0, 1]
    weights       2 quantize_k(tanh(w) / (2 max|tanh(w)|) + 1/2) - 1    k > 1
                  E|w| sign(w)                                          k = 1
    activations   quantize_k(clip(x, 0, 1))
    gradients     2 m (quantize_k(clip(g / (2 m) + 1/2 + N, 0, 1)) - 1/2)    m = max|g| of the example,
                  N = s / (2^k - 1), s uniform in [-1/2, 1/2]

Made for quantization-aware training: a float network that was not trained with these quantizers loses
its weight scale and every activation above one.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.ste import straight_through
from bitproof.quant.bounded import BoundedActivations
from bitproof.quant.draws import Drawing, key_of
from bitproof.quant.method import Method
from bitproof.quant.quantizer import InputQuantizer, WeightQuantizer, magnitude
from bitproof.quant.ranges import Histogram


class DoReFaWeights(WeightQuantizer):
    """Weights onto 2^k equally spaced levels in [-1, 1]; the gradient passes through tanh and the maximum."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if self.bits == 1:
            mean = weight.abs().mean()
            return straight_through(weight, torch.where(weight < 0, -mean, mean))
        return _SquashAndRound.apply(weight, 2**self.bits - 1)  # type: ignore[no-any-return]

    def code_scale(self, weight: Float[Tensor, "out ..."]) -> Tensor | str:
        return magnitude(weight) if self.bits == 1 else torch.tensor(1 / (2**self.bits - 1))

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


class _SquashAndRound(torch.autograd.Function):
    """With t = tanh(w) and m = max|t| the weight is t / m, rounded: dt = g / m, dm = -sum(g t) / m^2, which the largest
    share. One node for all of it, as weights are small and each operation costs."""

    @staticmethod
    def forward(ctx, weight, top):
        squashed = weight.tanh()
        largest = squashed.abs().max().clamp_(min=torch.finfo(weight.dtype).tiny)
        ctx.save_for_backward(squashed, largest)
        return (squashed / (2 * largest)).add_(0.5).mul_(top).round_().mul_(2).div_(top).sub_(1)

    @staticmethod
    def backward(ctx, *grad_outputs):
        (gradient,) = grad_outputs
        squashed, largest = ctx.saved_tensors
        of_largest = (gradient * squashed).sum().div_(largest)
        ends = (squashed.abs() == largest).nonzero(as_tuple=True)
        of_squashed = gradient / largest
        of_squashed[ends] -= squashed[ends].sign() * of_largest / (largest * len(ends[0]))
        return torch.ops.aten.tanh_backward(of_squashed, squashed), None


class DoReFaGradients(Drawing):
    """The output of a layer, unchanged; in training mode its gradient goes onto 2^k levels by stochastic rounding.

    The noise N makes the rounding unbiased inside the range, which is symmetric around zero, an example at a
    time. The grid has no level at zero.

    Args:
        bits: k.
        key: of the draws.
    """

    def __init__(self, bits: int, key: int) -> None:
        super().__init__(key)
        self.bits = bits

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        if self.training and x.requires_grad:
            x = x.view_as(x)  # a node of its own, which the hook belongs to
            x.register_hook(self._quantize)
        return x

    def _quantize(self, gradient: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        top = 2**self.bits - 1
        largest = gradient.abs().flatten(1).amax(1).view(-1, *[1] * (gradient.dim() - 1))
        largest = largest.clamp(min=torch.finfo(gradient.dtype).tiny)
        noisy = (gradient / (2 * largest) + 0.5 + (self.draw(gradient) - 0.5) / top).clamp_(0, 1)
        return 2 * largest * ((noisy * top).round_() / top - 0.5)

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


@dataclass(frozen=True, kw_only=True)
class DoReFa(Method):
    """DoReFa-Net's tanh weights and clipped activations, for training."""

    name = "dorefa"
    weight_bits = range(1, 9)
    act_bits = range(1, 9)
    grad_bits = range(1, 9)

    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        return DoReFaWeights(bits)

    def inputs(self, bits: int, received: Histogram | None = None) -> InputQuantizer:
        return BoundedActivations(bits, 1.0)

    def gradients(self, weight: Float[Tensor, "out ..."], bits: int) -> nn.Module:
        return DoReFaGradients(bits, key_of(weight)).to(weight.device)
