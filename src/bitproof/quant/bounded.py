"""Activation quantizers with a fixed range: ReLU1, ReLU6 and tanh (Lin, Gan & Han 2019, arXiv 1904.08444).

    relu6, relu1    y = round((2^k - 1) clip(x, 0, c) / c) c / (2^k - 1)    c = 6 or 1      Section 2, Table 4
    tanh            y = 2 round((2^k - 1) (tanh(x) + 1) / 2) / (2^k - 1) - 1               Appendix A.1
    tanh-dynamic    the same of tanh(x / s), s learned

Gradients pass the rounding unchanged, and are those of clip and tanh otherwise. With ReLU6 the networks of the
paper are conv + BN + ReLU6 + quantize: what goes into a layer has to be positive, so the first layer wants
`first_last` "8bit" or "float". The paper quantizes activations only; weights are float (32 bits) or on the affine grid.

**tanh masks gradients.** Its slope 1 - tanh(x)^2 vanishes for large activations, so white-box attacks fail where the
network is not robust: in the paper's Table 5 the tanh network "survives" white-box PGD better than black-box
transfer. It is here as a specimen for gradient-masking checks, not as a defence. It comes from Rakin et al.
2018 (arXiv 1807.06714), whose dynamic form learns the thresholds; here all of them move together, with s.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.ste import round_ste
from bitproof.quant.affine import affine_weights
from bitproof.quant.method import Method
from bitproof.quant.scheme import Scheme


class BoundedActivations(nn.Module):
    """Activations clipped to [0, bound] and rounded to 2^bits levels."""

    def __init__(self, bits: int, bound: float) -> None:
        super().__init__()
        self.bits = bits
        self.bound = bound

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        step = self.bound / (2**self.bits - 1)
        return round_ste(x.clamp(0, self.bound) / step) * step

    def extra_repr(self) -> str:
        return f"bits={self.bits}, bound={self.bound}"


class TanhActivations(nn.Module):
    """tanh(x / scale), rounded to 2^bits levels from -1 to 1; zero is not one of them.

    Args:
        dynamic: whether the scale is learned (from 1) instead of fixed to 1.
    """

    def __init__(self, bits: int, *, dynamic: bool) -> None:
        super().__init__()
        self.bits = bits
        self.scale = nn.Parameter(torch.ones(())) if dynamic else None

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        top = 2**self.bits - 1
        squashed = (x if self.scale is None else x / self.scale).tanh()
        return 2 * round_ste(top * (squashed + 1) / 2) / top - 1

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


def _method(inputs: Callable[[Scheme], nn.Module], description: str) -> Method:
    return Method(
        description=description,
        weight_bits=range(2, 9),
        act_bits=range(1, 9),
        weights=affine_weights,
        inputs=inputs,
    )


RELU6 = _method(
    lambda scheme: BoundedActivations(scheme.act_bits, 6.0), "Activations on [0, 6], for training; affine weights."
)
RELU1 = _method(
    lambda scheme: BoundedActivations(scheme.act_bits, 1.0), "Activations on [0, 1], for training; affine weights."
)
TANH = _method(
    lambda scheme: TanhActivations(scheme.act_bits, dynamic=False),
    "Activations through a quantized tanh, which masks gradients; affine weights.",
)
TANH_DYNAMIC = _method(
    lambda scheme: TanhActivations(scheme.act_bits, dynamic=True),
    "Activations through a quantized tanh of learned width, which masks gradients; affine weights.",
)
