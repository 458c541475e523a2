"""BinaryNet (Courbariaux, Hubara et al. 2016, arXiv 1602.02830).

    x_b = +1 where x >= 0, else -1              Eq. 1
    dx_b/dx = 1 where |x| <= 1, else 0          Eq. 4

for weights and activations. For weights the paper passes every gradient and clips to [-1, 1] after each
update, which the gate does not disturb: training calls `quant.after_step(model)` after each step of the
optimiser. Activations need both signs: the network has no ReLU before the layer, but a BatchNorm or HardTanh.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from bitproof.core.ste import sign_ste
from bitproof.errors import InputError
from bitproof.quant.codes import CodeGrid, Codes
from bitproof.quant.method import Method
from bitproof.quant.quantizer import InputQuantizer, WeightQuantizer, magnitude
from bitproof.quant.ranges import Histogram


class BinaryNetWeights(WeightQuantizer):
    """Weights onto -1 and +1.

    Example:
        >>> import torch
        >>> w = torch.tensor([-2.0, 0.0, 0.1], requires_grad=True)
        >>> y = BinaryNetWeights()(w); y.sum().backward()
        >>> y.tolist(), w.grad.tolist()
        ([-1.0, 1.0, 1.0], [0.0, 1.0, 1.0])
    """

    @property
    def limit(self) -> float:
        return 1.0

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return sign_ste(weight)

    def code_scale(self, weight: Float[Tensor, "out ..."]) -> Tensor | str:
        return magnitude(weight)


class SignActivations(InputQuantizer):
    """Activations onto -1 and +1."""

    nearest = False  # zero is a code, and no value goes there

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return sign_ste(x)

    def code_grid(self) -> CodeGrid | str:
        return CodeGrid(scale=1.0, zero_point=0, codes=Codes(qmin=-1, qmax=1))


def refuse_one_sign(received: Histogram, name: str) -> None:
    """Raise `InputError` for inputs that are never negative: all would become +1 and carry nothing.

    Args:
        received: what a layer receives on calibration images.
        name: of the method.
    """
    if received.low >= 0:
        raise InputError(
            f"the inputs of a layer are never negative ({received.low:.3g} to {received.high:.3g})",
            rule=f"{name} keeps only the sign of activations, so both signs must occur",
            remedy="Use a model without ReLU before its layers, or float activations (act_bits=32, in text w1a32)",
        )


@dataclass(frozen=True, kw_only=True)
class BinaryNet(Method):
    """BinaryNet's signs of weights and activations, for training."""

    name = "binarynet"
    weight_bits = range(1, 2)
    act_bits = range(1, 2)
    observes = True

    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        return BinaryNetWeights()

    def inputs(self, bits: int, received: Histogram | None = None) -> InputQuantizer:
        if received is not None:
            refuse_one_sign(received, self.name)
        return SignActivations()
