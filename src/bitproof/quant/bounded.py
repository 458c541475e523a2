"""Activation quantizers with a fixed range: ReLU1, ReLU6 and tanh (Lin, Gan & Han 2019, arXiv 1904.08444).

    relu6, relu1    y = round((2^k - 1) clip(x, 0, c) / c) c / (2^k - 1)    c = 6 or 1      Section 2, Table 4
    tanh            y = 2 round((2^k - 1) (tanh(x) + 1) / 2) / (2^k - 1) - 1               Appendix A.1
    tanh, dynamic   the same of tanh(x / s), s learned

Gradients pass the rounding unchanged, and are those of clip and tanh otherwise. With ReLU6 the networks of the
paper are conv + BN + ReLU6 + quantize: what goes into a layer has to be positive, so the first layer wants `first`
"8bit", "weights" or "float". The paper quantizes activations only, what goes into the last layer among them:
`relu6:w32a2,first=float,last=same`. Weights that are not float are on the affine grid.

**tanh masks gradients.** Its slope 1 - tanh(x)^2 vanishes for large activations, so white-box attacks fail where the
network is not robust: in the paper's Table 5 the tanh network "survives" white-box PGD better than black-box
transfer. It is here as a specimen for gradient-masking checks, not as a defence. It comes from Rakin et al.
2018 (arXiv 1807.06714), whose dynamic form learns the thresholds; here all of them move together, with s.
"""

import abc
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.ste import round_ste
from bitproof.quant.affine import affine_weights
from bitproof.quant.blocks import SLACK, between, rounded
from bitproof.quant.codes import CodeGrid, Codes
from bitproof.quant.grid import check_granularity
from bitproof.quant.method import Method
from bitproof.quant.quantizer import InputQuantizer, WeightQuantizer
from bitproof.quant.range_rules import DEFAULT_PERCENTILE, check_ranges
from bitproof.quant.ranges import Histogram, RangeSettings


class BoundedActivations(InputQuantizer):
    """Activations clipped to [0, bound] and rounded to 2^bits levels."""

    def __init__(self, bits: int, bound: float) -> None:
        super().__init__()
        self.bits = bits
        self.bound = bound

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return _ClipAndRound.apply(x, self.bound, 2**self.bits - 1)  # type: ignore[no-any-return]

    def code_grid(self) -> CodeGrid | str:
        codes = Codes.of(self.bits, symmetric=False)
        return CodeGrid(scale=self.bound / codes.qmax, zero_point=0, codes=codes)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, bound={self.bound}"


class _ClipAndRound(torch.autograd.Function):
    """Both ends of the range count as inside: black and white pixels have a gradient."""

    @staticmethod
    def forward(ctx, x, bound, top):
        ctx.save_for_backward(x)
        ctx.bound = bound
        return rounded(x, bound / top, 0, top)

    @staticmethod
    def backward(ctx, *grad_outputs):
        (x,) = ctx.saved_tensors
        return between(grad_outputs[0], x, -SLACK * ctx.bound, (1 + SLACK) * ctx.bound), None, None


class TanhActivations(InputQuantizer):
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

    def code_grid(self) -> CodeGrid | str:
        return "zero is not one of its levels, and integer kernels pad with zeros"

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


@dataclass(frozen=True, kw_only=True)
class _FixedRange(Method, abc.ABC):
    """What the methods of this file have in common: activations of a fixed range, and the weights of `Affine`.

    Attributes:
        granularity, symmetric, weight_range, percentile: of the weights, as in `bitproof.quant.affine.Affine`.
    """

    weight_bits = range(2, 9)
    act_bits = range(1, 9)

    granularity: str = "channel"
    symmetric: bool = True
    weight_range: str = "minmax"
    percentile: float = DEFAULT_PERCENTILE

    def __post_init__(self) -> None:
        check_granularity(self.granularity)
        check_ranges(weight_range=self.weight_range, percentile=self.percentile)

    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        span = RangeSettings(bits=bits, symmetric=self.symmetric, percentile=self.percentile)
        return affine_weights(weight, span, granularity=self.granularity, weight_range=self.weight_range)


@dataclass(frozen=True, kw_only=True)
class ReLU6(_FixedRange):
    """Activations on [0, 6], for training; affine weights."""

    name = "relu6"

    def inputs(self, bits: int, received: Histogram | None = None) -> InputQuantizer:
        return BoundedActivations(bits, 6.0)


@dataclass(frozen=True, kw_only=True)
class ReLU1(_FixedRange):
    """Activations on [0, 1], for training; affine weights."""

    name = "relu1"

    def inputs(self, bits: int, received: Histogram | None = None) -> InputQuantizer:
        return BoundedActivations(bits, 1.0)


@dataclass(frozen=True, kw_only=True)
class Tanh(_FixedRange):
    """Activations through a quantized tanh, which masks gradients; affine weights.

    Attributes:
        dynamic: whether the width of tanh is learned.
    """

    name = "tanh"

    dynamic: bool = False

    def inputs(self, bits: int, received: Histogram | None = None) -> InputQuantizer:
        return TanhActivations(bits, dynamic=self.dynamic)
