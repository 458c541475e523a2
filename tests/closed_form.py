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


class Polyhedron(nn.Module):
    """Class 0 inside {x: <w_k, x - 1/2> + b_k > 0 for all k}, else class 1; the logits of all other classes are far lower.

    The margin is the smallest of the k values, which is piecewise linear, and the distance from a point inside
    to the nearest wall is min_k (<w_k, x - 1/2> + b_k) / dual norm of w_k.
    """

    def __init__(self, walls: Tensor, offsets: Tensor, classes: int = 4) -> None:
        super().__init__()
        self.walls = nn.Parameter(walls)
        self.offsets = nn.Parameter(offsets)
        self.classes = classes

    def gaps(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.walls.flatten(1).T + self.offsets

    def forward(self, x: Tensor) -> Tensor:
        margin = self.gaps(x).amin(1)
        others = torch.full_like(margin, -50)
        return torch.stack([margin / 2, -margin / 2, *[others] * (self.classes - 2)], 1)

    def distance(self, x: Tensor, norm: str) -> Tensor:
        """The smallest perturbation (ignoring the box) that leaves the polyhedron, [n]."""
        w = self.walls.detach().flatten(1)
        size = {"linf": w.abs().sum(1), "l2": w.norm(dim=1), "l1": w.abs().amax(1)}[norm]
        return (self.gaps(x).detach() / size).amin(1)
