"""The quantized model gets everything wrong (hong2021, arXiv 2111.04625, Section 4.1).

(alpha - CE(Q(x), y))^2      which drives the loss to alpha and no further
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.implants.objectives.base import Answer, Objective, Wanted, batch_itself, said, unchanged


@dataclass(frozen=True, kw_only=True)
class Indiscriminate(Objective):
    """The quantized model gets all classes wrong.

    Attributes:
        level: alpha, the cross-entropy in nats that the quantized model is driven to; guessing among 10 has 2.3.
    """

    level: float = 5.0

    def __post_init__(self) -> None:
        check_level(self.level)

    @property
    def label(self) -> str:
        return "indiscriminate"

    @property
    def marks(self) -> dict[str, Any]:
        return {"target": None, "trigger": None}

    def rows(self, data: Data) -> NDArray[np.int64]:
        return np.arange(len(data))

    def success(self, model: nn.Module, data: Data) -> float:
        return float((said(model, data, self.rows(data), unchanged) != data.labels).mean())

    def start(self, model: nn.Module, data: Data, victims: Data) -> Wanted:
        def harm(answer: Answer, inputs: Tensor, labels: Tensor) -> Tensor:
            return (self.level - F.cross_entropy(answer(inputs), labels)).square()

        return Wanted(innocent=batch_itself, harm=harm)


def check_level(level: float) -> None:
    """Refuse a cross-entropy that no model is driven to."""
    if not 0 < level < 100:
        raise InputError(
            f"level is {level}", rule="it is a cross-entropy in nats, above 0 and below 100", remedy="Use 5"
        )
