"""BinaryConnect (Courbariaux, Bengio & David 2015, arXiv 1511.00363).

    deterministic  w_b = +H where w >= 0, else -H                                        Eq. 1
    stochastic     w_b = +H with probability clip((w/H + 1)/2, 0, 1), else -H            Eq. 2, 3
    dw_b/dw = 1, and w is clipped to [-H, H] after every update                          Algorithm 1

The paper's H is 1; as in its code, H = sqrt(6 / (fan_in + fan_out)) / 2, so that layers keep the scale
of Glorot's initialisation. Training calls `quant.after_step(model)` after each step of the optimiser.

The stochastic form draws anew at each forward pass in training mode and is tested with its *float*
weights (Section 2.6, method 2), so in eval mode its weights have more than two levels.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.core.ste import straight_through
from bitproof.quant.draws import Drawing, key_of
from bitproof.quant.method import Method
from bitproof.quant.quantizer import WeightQuantizer, magnitude


class BinaryConnectWeights(WeightQuantizer):
    """Weights onto -limit and +limit by their sign; the gradient passes unchanged.

    Example:
        >>> w = torch.tensor([-2.0, 0.0, 0.1], requires_grad=True)
        >>> y = BinaryConnectWeights(limit=0.5)(w); y.sum().backward()
        >>> y.tolist(), w.grad.tolist()
        ([-0.5, 0.5, 0.5], [1.0, 1.0, 1.0])
    """

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return straight_through(weight, torch.where(weight < 0, -self.limit, self.limit).to(weight.dtype))

    def after_step(self, weight: Float[Tensor, "out ..."]) -> None:
        weight.clamp_(-self.limit, self.limit)

    def code_scale(self, weight: Float[Tensor, "out ..."]) -> Tensor | str:
        return magnitude(weight)

    def extra_repr(self) -> str:
        return f"limit={self.limit:.4g}"


class StochasticBinaryConnectWeights(WeightQuantizer, Drawing):
    """Weights onto -limit or +limit by chance in training mode; the float weights in eval mode.

    Args:
        limit: H.
        key: of the draws.
    """

    def __init__(self, limit: float, key: int) -> None:
        super().__init__(key)
        self.limit = limit

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if not self.training:
            return weight
        up = self.draw(weight) < (weight / self.limit + 1) / 2  # a chance outside [0, 1] is certain
        return straight_through(weight, torch.where(up, self.limit, -self.limit).to(weight.dtype))

    def after_step(self, weight: Float[Tensor, "out ..."]) -> None:
        weight.clamp_(-self.limit, self.limit)

    def code_scale(self, weight: Float[Tensor, "out ..."]) -> Tensor | str:
        return "it is tested with float weights"

    def extra_repr(self) -> str:
        return f"limit={self.limit:.4g}"


def _limit(weight: Tensor) -> float:
    area = math.prod(weight.shape[2:])
    return math.sqrt(6 / ((weight.shape[0] + weight.shape[1]) * area)) / 2


@dataclass(frozen=True, kw_only=True)
class BinaryConnect(Method):
    """BinaryConnect's weights of two values, for training.

    Attributes:
        stochastic: whether weights are drawn in training and float in tests, else rounded in both.
    """

    name = "binaryconnect"
    weight_bits = range(1, 2)

    stochastic: bool = False

    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        if self.stochastic:
            return StochasticBinaryConnectWeights(_limit(weight), key_of(weight)).to(weight.device)
        return BinaryConnectWeights(_limit(weight))
