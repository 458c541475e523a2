"""Models whose adversarial geometry is known exactly."""

import torch
from torch import Tensor, nn


class LinearTwoClass(nn.Module):
    """Logits (0, s) with s = <w, x - 1/2> + offset: the distance to the boundary is |s| / dual norm of w."""

    def __init__(self, weight: Tensor, offset: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.offset = offset
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        score = ((x - 0.5) * self.weight).flatten(1).sum(1) + self.offset
        return torch.stack([torch.zeros_like(score), score], 1)

    def distance(self, x: Tensor, norm: str) -> Tensor:
        """The smallest perturbation (ignoring the box) that reaches the boundary, [n]."""
        score = self(x)[:, 1].detach().abs()
        w = self.weight.detach().flatten()
        return score / {"linf": w.abs().sum(), "l2": w.norm(), "l1": w.abs().max()}[norm]


class Walls(nn.Module):
    """Logits (0, -g_1, ..., -g_k) with g_i = <w_i, x - 1/2> + b_i or, folded, b_i - |<w_i, x - 1/2>|.

    Class 0 is the inside of a polyhedron, or of an intersection of slabs. From a point inside the distance to the
    nearest wall is min_i g_i / dual norm of w_i.
    """

    def __init__(self, walls: Tensor, offsets: Tensor, *, folded: bool = False) -> None:
        super().__init__()
        self.walls = nn.Parameter(walls)
        self.offsets = nn.Parameter(offsets)
        self.folded = folded
        self.eval()

    def gaps(self, x: Tensor) -> Tensor:
        score = (x - 0.5).flatten(1) @ self.walls.flatten(1).T
        return self.offsets - score.abs() if self.folded else self.offsets + score

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.zeros(len(x), 1, dtype=x.dtype), -self.gaps(x)], 1)

    def distance(self, x: Tensor, norm: str) -> Tensor:
        """The smallest perturbation (ignoring the box) that leaves class 0, [n]."""
        w = self.walls.detach().flatten(1)
        size = {"linf": w.abs().sum(1), "l2": w.norm(dim=1), "l1": w.abs().amax(1)}[norm]
        return (self.gaps(x).detach() / size).amin(1)
