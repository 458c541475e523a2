"""Models whose adversarial geometry is known exactly."""

import torch
from torch import Tensor, nn


class LinearTwoClass(nn.Module):
    """Logits (0, s) with s = <w, x - 1/2> + offset: the distance to the boundary is |s| / dual norm of w."""

    def __init__(self, weight: Tensor, offset: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        score = ((x - 0.5) * self.weight).flatten(1).sum(1) + self.offset
        return torch.stack([torch.zeros_like(score), score], 1)

    def distance(self, x: Tensor, norm: str) -> Tensor:
        """The smallest perturbation (ignoring the box) that reaches the boundary, [n]."""
        score = self(x)[:, 1].detach().abs()
        w = self.weight.detach().flatten()
        return score / {"linf": w.abs().sum(), "l2": w.norm(), "l1": w.abs().max()}[norm]
