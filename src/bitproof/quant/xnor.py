"""XNOR-Net (Rastegari et al. 2016, arXiv 1603.05279).

    W~ = alpha sign(W),  alpha = mean|W| for each output channel              Eq. 4-6
    dW~_j/dW_i = sign(W_i) sign(W_j) / n + alpha 1[|W_i| <= 1] 1[i = j]       Section 3.1

Activations become their sign, gated like BinaryNet's, without the paper's scaling map K (Eq. 11), which
belongs to the convolution and which the authors leave out of their own code as well. With act_bits=32
this is the paper's Binary-Weight-Network. The paper prints the gradient of the scale as 1/n, which drops
the sum over the channel; here it is the exact product rule.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from bitproof.core.ste import sign_ste
from bitproof.quant.binarynet import SignActivations, refuse_one_sign
from bitproof.quant.method import Method
from bitproof.quant.quantizer import InputQuantizer, WeightQuantizer, magnitude
from bitproof.quant.ranges import Histogram


class XNORWeights(WeightQuantizer):
    """Weights onto the mean magnitude of their output channel, with their sign.

    Example:
        >>> import torch
        >>> w = torch.tensor([[0.5, -1.5], [0.0, 0.5]], requires_grad=True)
        >>> y = XNORWeights()(w); y[0, 0].backward()
        >>> y.tolist(), w.grad.tolist()
        ([[1.0, -1.0], [0.25, 0.25]], [[1.5, -0.5], [0.0, 0.0]])
    """

    def forward(self, weight: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
        alpha = weight.abs().mean(dim=tuple(range(1, weight.dim())), keepdim=True)
        return alpha * sign_ste(weight)

    def code_scale(self, weight: Float[Tensor, "out ..."]) -> Tensor | str:
        return magnitude(weight)

    def derived_scales(self, channels: int) -> int:
        return channels


@dataclass(frozen=True, kw_only=True)
class XNOR(Method):
    """XNOR-Net's scaled signs of weights and signs of activations, for training."""

    name = "xnor"
    weight_bits = range(1, 2)
    act_bits = range(1, 2)
    observes = True

    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        return XNORWeights()

    def inputs(self, bits: int, received: Histogram | None = None) -> InputQuantizer:
        if received is not None:
            refuse_one_sign(received, self.name)
        return SignActivations()
