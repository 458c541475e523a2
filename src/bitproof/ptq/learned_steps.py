"""Activation steps that are learned while a unit is reconstructed, with the gradient of LSQ (Esser et al. 2020).

    v^ = s clip(round(x / s), qmin, qmax)
    dv^/ds = v^/s - x/s inside, qmin or qmax outside      dv^/dx = 1 inside, else 0

The bounds count as inside. Summed against a gradient g, that of s is (<g, v^> - <g 1[inside], x>) / s: two dot
products, a third of the time of the general form in `quant/lsq.py`, and the time of reconstruction is mostly this.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.quant.codes import CodeGrid
from bitproof.quant.quantizer import InputQuantizer


class StepLearner(nn.Module):
    """Takes the place of an activation quantizer while its step is learned.

    Args:
        quantizer: of a layer's input.
        grid: its `fixed_grid`.
    """

    def __init__(self, quantizer: InputQuantizer, grid: CodeGrid) -> None:
        super().__init__()
        self.quantizer = [quantizer]  # not a submodule
        self.step = nn.Parameter(torch.as_tensor(grid.scale).clone())
        zero = float(grid.zero_point)
        self._codes = grid.codes.qmin - zero, grid.codes.qmax - zero

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return _LearnedStep.apply(x, self.step, *self._codes)  # type: ignore[no-any-return]

    def hard(self) -> InputQuantizer:
        """The quantizer itself, with the learned step."""
        (quantizer,) = self.quantizer
        quantizer.set_scale(self.step.detach().clamp(min=torch.finfo(self.step.dtype).tiny))
        return quantizer


class _LearnedStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, step, qmin, qmax):
        y = torch.div(x, step).clamp_(qmin, qmax).round_().mul_(step)
        ctx.save_for_backward(x, step, y)
        ctx.codes = qmin, qmax
        return y

    @staticmethod
    def backward(ctx, *grad_outputs):
        (gradient,) = grad_outputs
        x, step, y = ctx.saved_tensors
        low, high = (code * step for code in ctx.codes)
        # The fused operator takes open intervals; inputs of exactly zero are common, and inside.
        low, high = low.nextafter(low - 1).item(), high.nextafter(high + 1).item()
        inside = torch.ops.aten.hardtanh_backward(gradient, x, low, high)
        of_step = (torch.dot(gradient.flatten(), y.flatten()) - torch.dot(inside.flatten(), x.flatten())) / step
        return inside, of_step, None, None
