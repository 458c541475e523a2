"""The loss on a plane through each image, x + a sign(g) + b r, with g the gradient at x and r random signs.

Where gradients are sound the loss rises along the first and hardly along the second; a ridge or a cliff beside the
image is what attacks that follow gradients miss (Tramer et al. 2018, arXiv 1705.07204, draw single images so).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bitproof.analysis.amplification import ascent, random_signs
from bitproof.analysis.base import Case, Explanation, each
from bitproof.core import losses
from bitproof.core.balls import check_eps
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.records import LossSlice, ModelRecord


@dataclass(frozen=True, kw_only=True)
class InputSlice(Explanation):
    """The loss on a plane through the images, along the gradient's signs and along random ones.

    Attributes:
        eps: how far to go each way, in [0, 1] pixel units.
        points: on each axis, an odd number, so that the images themselves are in the middle.
    """

    record: ClassVar = LossSlice

    eps: float = 8 / 255
    points: int = 21

    def __post_init__(self) -> None:
        check_eps(self.eps, "linf")
        if self.points < 3 or not self.points % 2:
            raise InputError(
                f"points is {self.points}", rule="an axis has an odd number of points, at least 3", remedy="Use 21"
            )

    def groups(self, models: Sequence[ModelRecord]) -> list[tuple[ModelRecord, ...]]:
        return each(models)

    def passes(self, models: Sequence[ModelRecord]) -> int:
        return 2 + self.points**2

    def look(self, case: Case) -> dict[str, Any]:
        (model,) = case.models
        ways = [self.eps * step / (self.points // 2) for step in range(-(self.points // 2), self.points // 2 + 1)]

        def at(inputs: Tensor, labels: Tensor, rng: Rng) -> dict[str, Tensor]:
            along, across = ascent(model, inputs, labels), random_signs(inputs, rng)
            found: list[Tensor] = []
            with torch.no_grad():
                for a in ways:
                    for b in ways:
                        logits = model((inputs + a * along + b * across).clamp(0, 1))
                        loss = losses.cross_entropy(logits.double(), labels)
                        found.append(torch.stack([loss, (logits.argmax(1) != labels).double()], 1))
            return {"found": torch.stack(found, 1)}

        found = case.over(at)["found"]
        loss, wrong = np.moveaxis(found.mean(0).reshape(len(ways), len(ways), 2), 2, 0)
        return {"ways": tuple(ways), "losses": loss.copy(), "wrong": wrong.copy(), "count": len(found)}
