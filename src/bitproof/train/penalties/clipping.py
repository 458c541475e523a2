"""PACT's penalty on clipping levels (Choi et al. 2018, arXiv 1805.06085, Section 4.2)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.errors import InputError
from bitproof.quant import penalty
from bitproof.train.penalties.base import Penalty


@dataclass(frozen=True, kw_only=True)
class ClippingLevels(Penalty):
    """`weight` times the sum of alpha^2 over the model's clipping levels: it pulls them down from a high start."""

    weight: float

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise InputError(
                f"the weight of a penalty is {self.weight}", rule="it is 0 at least, and finite", remedy="Try 1e-4"
            )

    def __call__(self, model: nn.Module) -> Float[Tensor, ""]:
        return self.weight * penalty(model)
