"""Several bit-widths of one network at once: the mean of their losses (Yang et al. 2024, QAA, arXiv 2305.05875)."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.train.batches import Batch
from bitproof.train.objectives.base import Loss, Objective
from bitproof.train.objectives.cross_entropy import CrossEntropy


@dataclass(frozen=True, kw_only=True)
class SharedBits(Objective):
    """The mean of another objective over the members of a model that has several (Yang et al. 2024, arXiv 2305.05875).

    Attributes:
        objective: of each member.
    """

    objective: Objective = field(default_factory=CrossEntropy)

    @property
    def label(self) -> str:
        return f"{self.objective.label} of each bit-width"

    def start(self, teacher: nn.Module) -> Loss:
        own = self.objective.start(teacher)

        def loss(model: nn.Module, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
            members: Any = getattr(model, "members", None)
            if not isinstance(members, nn.ModuleList):
                raise InputError(
                    f"a {type(model).__name__} without members",
                    rule="this objective is the mean over the members of a model",
                    remedy="Train what bitproof.train.papers.qaa2024.Surrogate makes",
                )
            values, logits = zip(*(own(member, batch, rng) for member in members), strict=True)
            return torch.stack(values).mean(), torch.stack(logits).mean(0)

        return loss
