"""Activation steps that are learned while a unit is reconstructed, with the gradient of LSQ (Esser et al. 2020)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.quant.codes import CodeGrid, Codes
from bitproof.quant.lsq import learned_step
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
        zero = int(grid.zero_point)
        self._codes = Codes(qmin=grid.codes.qmin - zero, qmax=grid.codes.qmax - zero)

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return learned_step(x, self.step, self._codes)

    def hard(self) -> InputQuantizer:
        """The quantizer itself, with the learned step."""
        (quantizer,) = self.quantizer
        quantizer.set_scale(self.step.detach().abs().clamp(min=torch.finfo(self.step.dtype).tiny))
        return quantizer
