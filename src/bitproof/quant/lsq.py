"""LSQ: learned step size quantization (Esser et al. 2020, arXiv 1902.08153).

    v^      = round(clip(v / s, -Q_N, Q_P)) s                        Eq. 1, 2
    dv^/ds  = round(v/s) - v/s inside, -Q_N below, Q_P above         Eq. 3
    dv^/dv  = 1 inside, 0 outside                                    Eq. 5
    s_0     = 2 mean|v| / sqrt(Q_P)                                  Section 2.1
    g       = 1 / sqrt(N Q_P), which multiplies the gradient of s    Section 2.2

Weights have Q_N = 2^(b-1), Q_P = 2^(b-1) - 1 (unlike a symmetric affine grid, -2^(b-1) is used) and N =
weights that share one s. Activations have Q_N = 0, Q_P = 2^b - 1, or the signed codes where `act_symmetric`
asks for them, and N = features of one example, so that the batch size does not matter; their s_0
comes from the whole calibration set instead of the first batch.

Two departures. Zero counts as inside an unsigned grid: by Eq. 5 an input of exactly zero (a black pixel)
would have no gradient. And the step is |s|: an optimiser step across zero would make s negative and
leave unsigned activations at zero for good.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.quant.blocks import SLACK, between, in_memory, number, rounded
from bitproof.quant.codes import CodeGrid, Codes
from bitproof.quant.grid import check_granularity, share_a_grid
from bitproof.quant.method import Method
from bitproof.quant.quantizer import InputQuantizer, WeightQuantizer
from bitproof.quant.ranges import Histogram


def learned_step(
    x: Float[Tensor, "..."], step: Float[Tensor, "..."], codes: Codes, share: float = 1.0
) -> Float[Tensor, "..."]:
    """Round `x` onto the multiples qmin..qmax of |step|, which broadcasts against it; gradients of Eq. 3 and 5.

    Args:
        x: any numbers.
        step: not zero.
        codes: qmin..qmax.
        share: what the gradient of the step is multiplied by, the paper's g.

    Example:
        >>> x, step = torch.tensor([-9.0, 0.4, 9.0], requires_grad=True), torch.tensor(0.5, requires_grad=True)
        >>> y = learned_step(x, step, Codes(qmin=-2, qmax=1)); y.sum().backward()
        >>> y.tolist(), x.grad.tolist(), round(step.grad.item(), 3)  # -2 + (1 - 0.8) + 1
        ([-1.0, 0.5, 0.5], [0.0, 1.0, 0.0], -0.8)
    """
    return _LearnedStep.apply(x, step, codes, share)  # type: ignore[no-any-return]


class _LearnedStep(torch.autograd.Function):
    """From Eq. 3 follows ds = (sum(g v^) - sum(g_x v)) / s, where g is the incoming gradient and g_x that of v:
    two dot products with tensors that exist already. (Outside the grid g_x is zero and v^/s is the bound; the sign of
    s is that of d|s|/ds.) A step that can be read is a number: in small layers every operation on tensors counts."""

    @staticmethod
    def forward(ctx, x, step, codes, share):
        y = rounded(x, _size(step), codes.qmin, codes.qmax)
        ctx.save_for_backward(x, step, y)
        ctx.codes, ctx.share = codes, share
        return y

    @staticmethod
    def backward(ctx, *grad_outputs):
        (gradient,) = grad_outputs
        x, step, y = ctx.saved_tensors
        size = _size(step)
        of_x = between(gradient, x, (ctx.codes.qmin or -SLACK) * size, ctx.codes.qmax * size)
        if not ctx.needs_input_grad[1]:
            return of_x, None, None, None
        return of_x, (_dot(gradient, y, step) - _dot(of_x, x, step)).div_(step).mul_(ctx.share), None, None


def _size(step: Tensor) -> Tensor | float:
    size = number(step)
    return step.abs() if size is None else abs(size)


def _dot(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """The sum of a b over all that shares an element of `like`."""
    if like.numel() == 1 and (rows := in_memory(a, b)) is not None:
        return torch.dot(*rows).view_as(like)
    return (a * b).sum_to_size(like.shape)


class LSQWeights(WeightQuantizer):
    """Weights onto a signed grid with a learned step.

    Args:
        bits: 2^bits levels.
        step: the step to start from, one element for the whole tensor or [channels, 1, ...].
    """

    def __init__(self, bits: int, step: Float[Tensor, "..."]) -> None:
        super().__init__()
        self.codes = signed(bits)
        self.step = nn.Parameter(step)

    def forward(self, weight: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        g = 1 / math.sqrt(weight.numel() / self.step.numel() * self.codes.qmax)
        return learned_step(weight, self.step, self.codes, share=g)

    def code_scale(self, weight: Float[Tensor, "out ..."]) -> Tensor | str:
        return self.step.abs()

    def extra_repr(self) -> str:
        return f"codes=[{self.codes.qmin}, {self.codes.qmax}], shape={tuple(self.step.shape)}"


class LSQActivations(InputQuantizer):
    """Activations onto a grid with a learned step, 1 until calibration or a state dict sets it."""

    def __init__(self, codes: Codes) -> None:
        super().__init__()
        self.codes = codes
        self.step = nn.Parameter(torch.ones(()))

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        g = 1 / math.sqrt(x[0].numel() * self.codes.qmax)
        return learned_step(x, self.step, self.codes, share=g)

    def code_grid(self) -> CodeGrid | str:
        return CodeGrid(scale=self.step.abs(), zero_point=0, codes=self.codes)

    def extra_repr(self) -> str:
        return f"codes=[{self.codes.qmin}, {self.codes.qmax}]"


def signed(bits: int) -> Codes:
    """-2^(b-1)..2^(b-1) - 1."""
    return Codes(qmin=-(2 ** (bits - 1)), qmax=2 ** (bits - 1) - 1)


def nonzero(step: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The step, or 1 where it is zero: what it was made from holds only zeros and stays zero."""
    return torch.where(step > 0, step, torch.ones_like(step))


@dataclass(frozen=True, kw_only=True)
class LSQ(Method):
    """LSQ's learned step sizes, for training.

    Attributes:
        granularity: one step of weights a "tensor", as in the paper, or one an output "channel".
        act_symmetric: whether the codes of activations are signed.
    """

    name = "lsq"
    weight_bits = range(2, 9)
    act_bits = range(2, 9)
    observes = True

    granularity: str = "tensor"
    act_symmetric: bool = False

    def __post_init__(self) -> None:
        check_granularity(self.granularity)

    def weights(self, weight: Float[Tensor, "out ..."], bits: int) -> WeightQuantizer:
        rows, shape = share_a_grid(weight, self.granularity)
        step = 2 * rows.abs().mean(1) / math.sqrt(signed(bits).qmax)
        return LSQWeights(bits, nonzero(step).view(shape))

    @torch.no_grad()
    def inputs(self, bits: int, received: Histogram | None = None) -> InputQuantizer:
        quantizer = LSQActivations(signed(bits) if self.act_symmetric else Codes.of(bits, symmetric=False))
        if received is not None:
            step = 2 * received.mean_abs() / math.sqrt(quantizer.codes.qmax)
            quantizer.step.copy_(nonzero(torch.tensor(step)))
        return quantizer
