"""Cross-entropy: the usual loss of a classifier."""

from dataclasses import dataclass

from torch import nn
from torch.nn import functional as F

from bitproof.train.objectives.base import Loss, Objective, of_logits


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Objective):
    """-log of the probability that softmax gives the label."""

    @property
    def label(self) -> str:
        return "cross-entropy"

    def start(self, teacher: nn.Module) -> Loss:
        return of_logits(F.cross_entropy)
