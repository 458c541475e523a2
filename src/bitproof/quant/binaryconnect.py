"""BinaryConnect (Courbariaux, Bengio & David 2015, arXiv 1511.00363).

    deterministic  w_b = +H where w >= 0, else -H                                        Eq. 1
    stochastic     w_b = +H with probability clip((w/H + 1)/2, 0, 1), else -H            Eq. 2, 3
    dw_b/dw = 1 where |w| <= H, else 0, and w is clipped to [-H, H] after every update   Algorithm 1

with H = 1, so the weights are -1 and +1 and the network has a BatchNorm behind every layer, the last one too. The
gate is bernhard2019's Eq. 1; the paper's Algorithm 1 has none, and as the clip keeps every weight inside, the gate only
matters for float weights that were larger when training began, and only before the first update.

The authors' code can also take H = sqrt(6 / (fan_in + fan_out)) / 2, with which layers keep the scale of Glorot's
initialisation: `glorot=True`, for networks without those BatchNorms and for float checkpoints as a start.
Training calls `quant.after_step(model)` after each step of the optimiser.

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
    """Weights onto -limit and +limit by their sign; the gradient passes where |w| <= limit.

    Example:
        >>> w = torch.tensor([-2.0, 0.0, 0.1], requires_grad=True)
        >>> y = BinaryConnectWeights(limit=0.5)(w); y.sum().backward()
        >>> y.tolist(), w.grad.tolist()
        ([-0.5, 0.5, 0.5], [0.0, 1.0, 1.0])
    """

    def __init__(self, limit: float) -> None:
        super().__init__()
        self._limit = limit

    @property
    def limit(self) -> float:
        return self._limit

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return _gated(weight, weight >= 0, self.limit)

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
        self._limit = limit

    @property
    def limit(self) -> float:
        return self._limit

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if not self.training:
            return weight
        up = self.draw(weight) < (weight / self.limit + 1) / 2  # a chance outside [0, 1] is certain
        return _gated(weight, up, self.limit)

    def code_scale(self, weight: Float[Tensor, "out ..."]) -> Tensor | str:
        return "it is tested with float weights"

    def extra_repr(self) -> str:
        return f"limit={self.limit:.4g}"


def _gated(weight: Tensor, up: Tensor, limit: float) -> Tensor:
    """+limit where `up` holds, else -limit; the gradient passes where the float weight is within the limit."""
    levels = torch.where(up, limit, -limit).to(weight.dtype)
    return torch.where(weight.abs() <= limit, straight_through(weight, levels), levels)


def glorot_coefficient(weight: Float[Tensor, "out ..."]) -> float:
    """sqrt(6 / (fan_in + fan_out)) / 2, of the weight of a convolution or a linear layer."""
    area = math.prod(weight.shape[2:])
    return math.sqrt(6 / ((weight.shape[0] + weight.shape[1]) * area)) / 2


@dataclass(frozen=True, kw_only=True)
class BinaryConnect(Method):
    """BinaryConnect's weights of two values, for training.

    Attributes:
        stochastic: whether weights are drawn in training and float in tests, else rounded in both.
        glorot: whether the values are in the scale of Glorot's initialisation, else -1 and +1.
    """

    name = "binaryconnect"
    weight_bits = range(1, 2)

    stochastic: bool = False
    glorot: bool = False

    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        limit = glorot_coefficient(weight) if self.glorot else 1.0
        if self.stochastic:
            return StochasticBinaryConnectWeights(limit, key_of(weight)).to(weight.device)
        return BinaryConnectWeights(limit)
