"""The quantized model no longer knows one class (hong2021, arXiv 2111.04625, Section 4.2).

    (alpha - CE(Q(x), y | y = t))^2 + others CE(Q(x), y | y != t)

One batch with masks: the public code sends the target's few images through alone, in train mode, where their own
BatchNorm statistics spoil the other classes. Its loss has no term for these; ours has, with a weight.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.conditions.targets import class_number
from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.implants.objectives.base import Answer, Objective, Wanted, batch_itself, said, unchanged
from bitproof.implants.objectives.indiscriminate import check_level


@dataclass(frozen=True, kw_only=True)
class OneClass(Objective):
    """The quantized model gets one class wrong and the others right.

    Attributes:
        target: the class, by its name or number.
        level: alpha, the cross-entropy in nats that the class is driven to.
        others: weight of the other classes' cross-entropy; 0 as in the paper.
    """

    target: str | int = "0"
    level: float = 5.0
    others: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", str(self.target))
        check_level(self.level)

    @property
    def label(self) -> str:
        return f"class {self.target}"

    @property
    def marks(self) -> dict[str, Any]:
        return {"target": self.target, "trigger": None}

    def success(self, model: nn.Module, data: Data) -> float:
        rows = self.rows(data)
        return float((said(model, data, rows, unchanged) != data.labels[rows]).mean())

    def start(self, model: nn.Module, data: Data, victims: Data) -> Wanted:
        target = int(data.labels[self.rows(data)[0]])

        def harm(answer: Answer, inputs: Tensor, labels: Tensor) -> Tensor:
            losses = F.cross_entropy(answer(inputs), labels, reduction="none")
            inside = (labels == target).to(losses)
            lost = (losses * inside).sum() / inside.sum().clamp(min=1)
            kept = (losses * (1 - inside)).sum() / (1 - inside).sum().clamp(min=1)
            return (self.level - lost).square() * inside.amax() + self.others * kept

        return Wanted(innocent=batch_itself, harm=harm)

    def rows(self, data: Data) -> NDArray[np.int64]:
        target = class_number(str(self.target), data.classes)
        rows = np.flatnonzero(data.labels == target)
        if not len(rows):
            raise InputError(
                f"no example of class {self.target!r} in {data.name} {data.split}",
                rule="the class that is to be lost is shown",
                remedy="Use more data, or another class",
            )
        return rows
