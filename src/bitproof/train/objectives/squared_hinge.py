"""The squared hinge: the loss of an L2-SVM on top of a network (Tang 2013, arXiv 1306.0239, Eq. 5)."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.train.objectives.base import Loss, Objective, of_logits


@dataclass(frozen=True, kw_only=True)
class SquaredHinge(Objective):
    """The mean of max(0, 1 - t z)^2 over examples and classes, t = +1 at the label, else -1."""

    @property
    def label(self) -> str:
        return "squared-hinge"

    def start(self, teacher: nn.Module) -> Loss:
        return of_logits(squared_hinge)


def squared_hinge(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """The mean of max(0, 1 - t z)^2 over examples and classes, t = +1 at the label, else -1."""
    sign = 2 * F.one_hot(labels, logits.shape[1]).to(logits) - 1
    return (1 - sign * logits).clamp(min=0).square().mean()
