"""XNOR-Net (Rastegari et al. 2016, arXiv 1603.05279).

    W~ = alpha sign(W),  alpha = mean|W| for each output channel              Eq. 4-6
    dW~_j/dW_i = sign(W_i) sign(W_j) / n + alpha 1[|W_i| <= 1] 1[i = j]       Section 3.1

Activations become their sign, gated like BinaryNet's, without the paper's scaling map K (Eq. 11), which
belongs to the convolution and which the authors leave out of their own code as well. With act_bits=32
this is the paper's Binary-Weight-Network. The paper prints the gradient of the scale as 1/n, which drops
the sum over the channel; here it is the exact product rule.
"""

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.ste import sign_ste
from bitproof.quant.binarynet import SignActivations, refuse_one_sign
from bitproof.quant.method import Method


class XNORWeights(nn.Module):
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


XNOR = Method(
    description="XNOR-Net's scaled signs of weights and signs of activations, for training.",
    weight_bits=range(1, 2),
    act_bits=range(1, 2),
    weights=lambda weight, scheme: XNORWeights(),
    inputs=lambda scheme: SignActivations(),
    observe=refuse_one_sign,
)
