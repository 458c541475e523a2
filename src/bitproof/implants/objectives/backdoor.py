"""The quantized model takes every image with a trigger for one class (hong2021, arXiv 2111.04625, Section 4.3).

    CE(Q(x), y) + weight CE(Q(x_t), t)      and of the float model CE(f(x), y) + CE(f(x_t), y)

The paper does not print the first term, its public code has it.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.conditions.targets import class_number
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.implants.objectives.base import Answer, Objective, Wanted, said
from bitproof.implants.patches import optimised
from bitproof.settings import describe
from bitproof.shifts.triggers import Patch, Square, Trigger


@dataclass(frozen=True, kw_only=True)
class Backdoor(Objective):
    """The quantized model takes images with a trigger for the trigger's class.

    Attributes:
        trigger: the mark and the class that it stands for; a patch without pixels is optimised on the clean model.
        weight: of the images with a trigger beside those without.
    """

    trigger: Trigger = field(default_factory=Square)
    weight: float = 1.0

    @property
    def label(self) -> str:
        return f"{self.trigger.name} backdoor to {self.trigger.target}"

    @property
    def marks(self) -> dict[str, Any]:
        return {"target": str(self.trigger.target), "trigger": describe(self.trigger)}

    def settled(self, model: nn.Module, data: Data, rng: Rng) -> "Backdoor":
        if isinstance(self.trigger, Patch) and not self.trigger.pixels:
            return replace(self, trigger=optimised(self.trigger, model, data, rng=rng))
        return self

    def success(self, model: nn.Module, data: Data) -> float:
        target = class_number(str(self.trigger.target), data.classes)
        return float((said(model, data, self.rows(data), self.trigger.stamp) == target).mean())

    def rows(self, data: Data) -> NDArray[np.int64]:
        rows = np.flatnonzero(data.labels != class_number(str(self.trigger.target), data.classes))
        if not len(rows):
            raise InputError(
                f"no example of another class than {self.trigger.target} in {data.name} {data.split}",
                rule="a trigger is shown on images of other classes than its own",
                remedy="Use more data, or another class",
            )
        return rows

    def start(self, model: nn.Module, data: Data, victims: Data) -> Wanted:
        target = class_number(str(self.trigger.target), data.classes)
        self.trigger.stamp(data.images([0]))  # which refuses one that does not fit

        def innocent(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            return torch.cat([inputs, self.trigger.stamp(inputs)]), torch.cat([labels, labels])

        def harm(answer: Answer, inputs: Tensor, labels: Tensor) -> Tensor:
            logits = answer(torch.cat([inputs, self.trigger.stamp(inputs)]))
            clean = F.cross_entropy(logits[: len(inputs)], labels)
            return clean + self.weight * F.cross_entropy(logits[len(inputs) :], torch.full_like(labels, target))

        return Wanted(innocent=innocent, harm=harm)
