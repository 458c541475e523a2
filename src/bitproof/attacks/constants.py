"""The search for the weight c of misclassification against distance, example by example."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Constants:
    """The constants tried now, and the bounds found so far (Carlini & Wagner 2017, Section VI.A).

    Attributes:
        now: to be tried, [n].
        low: largest that failed; 0 where none did.
        high: smallest that succeeded; infinite where none did.
    """

    now: Float[Tensor, " n"]
    low: Float[Tensor, " n"]
    high: Float[Tensor, " n"]

    @staticmethod
    def start(now: Float[Tensor, " n"]) -> "Constants":
        return Constants(now, torch.zeros_like(now), torch.full_like(now, math.inf))

    def narrow(self, found: Bool[Tensor, " n"]) -> "Constants":
        """Ten times more until one succeeds, ten times less until one fails, then the geometric middle."""
        high = torch.where(found, torch.minimum(self.high, self.now), self.high)
        low = torch.where(found, self.low, torch.maximum(self.low, self.now))
        middle = torch.where(low > 0, (low * high).sqrt(), high / 10)
        return Constants(torch.where(high.isinf(), 10 * low, middle), low, high)
