"""DoReFa-Net quantizers (Zhou et al. 2016, arXiv 1606.06160, Eq. 5, 7-9 and 10).

    quantize_k(r) = round((2^k - 1) r) / (2^k - 1)                      r in [0, 1]
    weights       2 quantize_k(tanh(w) / (2 max|tanh(w)|) + 1/2) - 1    k > 1
                  E|w| sign(w)                                          k = 1
    activations   quantize_k(clip(x, 0, 1))

Made for quantization-aware training: a float network that was not trained with these quantizers loses
its weight scale and every activation above one.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.ste import round_ste, straight_through
from bitproof.quant.method import Method


class DoReFaWeights(nn.Module):
    """Weights onto 2^k equally spaced levels in [-1, 1]; the gradient passes through tanh and the maximum."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if self.bits == 1:
            mean = weight.abs().mean()
            return straight_through(weight, torch.where(weight < 0, -mean, mean))
        top = 2**self.bits - 1
        squashed = weight.tanh()
        largest = squashed.abs().max().clamp(min=torch.finfo(weight.dtype).tiny)
        return 2 * round_ste(top * (squashed / (2 * largest) + 0.5)) / top - 1

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


class DoReFaActivations(nn.Module):
    """Activations clipped to [0, 1] and rounded to 2^k levels; the gradient passes inside the range."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        top = 2**self.bits - 1
        return round_ste(top * x.clamp(0, 1)) / top

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


DOREFA = Method(
    description="DoReFa-Net's tanh weights and clipped activations, for training.",
    weight_bits=range(1, 9),
    act_bits=range(1, 9),
    weights=lambda weight, scheme: DoReFaWeights(scheme.weight_bits),
    inputs=lambda scheme: DoReFaActivations(scheme.act_bits),
)
