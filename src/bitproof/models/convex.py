"""Convex sums of shortcut and residual (Cisse et al. 2017, arXiv 1704.08847, Section 3.3): a x + (1 - a) F(x).

A sum of non-expansive branches expands; a convex combination of them does not. The shares are learned, and projected on
the simplex after every step. lin2019's Defensive Quantization has them in its residual networks.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ConvexSum(nn.Module):
    """The sum of branches, weighted by shares that are positive and add up to 1; they start equal."""

    def __init__(self, branches: int = 2) -> None:
        super().__init__()
        self.shares = nn.Parameter(torch.full((branches,), 1 / branches))

    def forward(self, *branches: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        parts = [share * branch for share, branch in zip(self.shares, branches, strict=True)]
        return sum(parts[1:], parts[0])

    def project(self) -> None:
        """Move the shares, in place, to the nearest ones on the simplex."""
        self.shares.copy_(on_simplex(self.shares))


class PlainSum(nn.Module):
    """The sum of branches, as ResNets have it."""

    def forward(self, *branches: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return sum(branches[1:], branches[0])


def on_simplex(values: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """The nearest point (in l2) with no negative entry and sum 1: sort and threshold (Duchi et al. 2008, Figure 1).

    Example:
        >>> on_simplex(torch.tensor([0.75, 0.75]))
        tensor([0.5000, 0.5000])
    """
    ordered = values.sort(descending=True).values
    counts = torch.arange(1, len(values) + 1, device=values.device)
    thresholds = (ordered.cumsum(0) - 1) / counts
    kept = int((ordered > thresholds).sum())
    return (values - thresholds[kept - 1]).clamp(min=0)


@torch.no_grad()
def project_sums(model: nn.Module) -> None:
    """Bring all convex sums of a model back on the simplex, once an optimiser has moved their shares."""
    for module in model.modules():
        if isinstance(module, ConvexSum):
            module.project()
