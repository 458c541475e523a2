"""Cross-entropy: the usual loss of a classifier."""

from dataclasses import dataclass
from functools import partial

from torch import nn
from torch.nn import functional as F

from bitproof.errors import InputError
from bitproof.train.objectives.base import Loss, Objective, of_logits


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Objective):
    """-log of the probability that softmax gives the label.

    Attributes:
        smoothing: part of the label's weight that is spread evenly over all classes (Szegedy et al. 2016, arXiv
            1512.00567, Section 7).
    """

    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise InputError(
                f"smoothing is {self.smoothing}",
                rule="it is the part of a label that is spread over all classes",
                remedy="Use a number in [0, 1), such as 0.1",
            )

    @property
    def label(self) -> str:
        return "cross-entropy" + (f", labels smoothed by {self.smoothing:g}" if self.smoothing else "")

    def start(self, teacher: nn.Module) -> Loss:
        return of_logits(partial(F.cross_entropy, label_smoothing=self.smoothing))
