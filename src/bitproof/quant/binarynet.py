"""BinaryNet (Courbariaux, Hubara et al. 2016, arXiv 1602.02830).

    x_b = +1 where x >= 0, else -1              Eq. 1
    dx_b/dx = 1 where |x| <= 1, else 0          Eq. 4

for weights and activations. For weights the paper passes every gradient and clips to [-1, 1] after each
update, which the gate does not disturb: call `binaryconnect.clip_weights(model)` after each step of the
optimiser. Activations need both signs: the network has no ReLU before the layer, but a BatchNorm or HardTanh.
"""

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.ste import sign_ste
from bitproof.errors import InputError
from bitproof.quant.method import Method
from bitproof.quant.ranges import Histogram
from bitproof.quant.scheme import Scheme


class BinaryNetWeights(nn.Module):
    """Weights onto -1 and +1.

    Example:
        >>> import torch
        >>> w = torch.tensor([-2.0, 0.0, 0.1], requires_grad=True)
        >>> y = BinaryNetWeights()(w); y.sum().backward()
        >>> y.tolist(), w.grad.tolist()
        ([-1.0, 1.0, 1.0], [0.0, 1.0, 1.0])
    """

    limit = 1.0

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return sign_ste(weight)


class SignActivations(nn.Module):
    """Activations onto -1 and +1."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return sign_ste(x)


def refuse_one_sign(quantizer: nn.Module, histogram: Histogram, scheme: Scheme) -> None:
    """Nothing to set up, but inputs that are never negative would all become +1 and carry nothing."""
    if histogram.low >= 0:
        raise InputError(
            f"the inputs of a layer are never negative ({histogram.low:.3g} to {histogram.high:.3g})",
            rule=f"{scheme.method} keeps only the sign of activations, so both signs must occur",
            remedy="Use a model without ReLU before its layers, or act_bits=32",
        )


BINARYNET = Method(
    description="BinaryNet's signs of weights and activations, for training.",
    weight_bits=range(1, 2),
    act_bits=range(1, 2),
    weights=lambda weight, scheme: BinaryNetWeights(),
    inputs=lambda scheme: SignActivations(),
    observe=refuse_one_sign,
)
