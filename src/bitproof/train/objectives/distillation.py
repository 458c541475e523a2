"""Distillation: a teacher's outputs beside the labels (Hinton, Vinyals & Dean 2015, arXiv 1503.02531, Section 2).

    (1 - weight) L + weight T^2 KL(softmax(z_teacher / T) || softmax(z / T))

where L is another objective.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.core.calling import logits_of
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.quant import freeze
from bitproof.train.batches import Batch
from bitproof.train.objectives.base import Loss, Objective, OneStep
from bitproof.train.objectives.cross_entropy import CrossEntropy


@dataclass(frozen=True, kw_only=True)
class Distillation(Objective):
    """An objective on labels, and closeness to a teacher that sees the same images.

    Attributes:
        objective: what counts beside the teacher.
        weight: of the teacher; the objective has the rest of 1.
        temperature: divides both models' logits.
    """

    taught = True

    objective: Objective = field(default_factory=CrossEntropy)
    weight: float = 0.5
    temperature: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise InputError(
                f"the weight of distillation is {self.weight}",
                rule="it is the teacher's, the labels have the rest of 1",
                remedy="Use a number in [0, 1], such as 0.5",
            )
        if not 0 < self.temperature < float("inf"):
            raise InputError(
                f"temperature is {self.temperature}", rule="it is positive and finite", remedy="Try 1, 2 or 4"
            )

    @property
    def label(self) -> str:
        return f"{self.objective.label} + distillation {self.weight:g}"

    @property
    def one_step(self) -> OneStep | None:
        return self.objective.one_step

    def start(self, teacher: nn.Module) -> Loss:
        teacher = freeze(teacher)
        own = self.objective.start(teacher)

        def loss(model: nn.Module, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
            value, logits = own(model, batch, rng)
            with torch.no_grad():
                taught = logits_of(teacher, batch.inputs)
            if taught.shape != logits.shape:
                raise InputError(
                    f"the teacher has {taught.shape[1]} outputs and the model {logits.shape[1]}",
                    rule="distillation compares them one by one",
                    remedy="Use a teacher of the same classes",
                )
            distance = distillation(logits, taught, self.temperature)
            return (1 - self.weight) * value + self.weight * distance, logits

        return loss


def distillation(logits: Float[Tensor, "n k"], taught: Float[Tensor, "n k"], temperature: float) -> Float[Tensor, ""]:
    """T^2 KL(softmax(taught / T) || softmax(logits / T)), the mean over examples.

    Example:
        >>> distillation(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.0]]), 4.0).item()
        0.0
    """
    ours, theirs = (F.log_softmax(z / temperature, 1) for z in (logits, taught))
    return temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
