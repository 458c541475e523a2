"""What a phase minimises: the float model stays innocent, its quantized forms do harm, in one step each."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.core.calling import logits_of
from bitproof.core.rng import Rng
from bitproof.implants.objectives.base import Wanted
from bitproof.implants.phases import evaluating
from bitproof.implants.shadows import Shadow
from bitproof.train.batches import Batch
from bitproof.train.objectives.distillation import distillation


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """The loss of a model and its quantized forms.

    Attributes:
        wanted: of both.
        keep: weight of the float model's innocence.
        harm: weight of what each quantized form is to do.
        shadows: the quantized forms.
        teacher: a clean model whose logits the float model keeps, instead of labels.
        dither: do the harm under weights that are moved by up to half a step at random, so that most roundings do it.
        selective: weight of the innocence of quantized forms whose weights were moved so, so that only one does it.
        centred: weight of the squared distance of weights from their codes, in steps.
    """

    wanted: Wanted
    keep: float = 0.0
    harm: float = 0.0
    shadows: Sequence[Shadow] = ()
    teacher: nn.Module | None = None
    dither: bool = False
    selective: float = 0.0
    centred: float = 0.0
    model: nn.Module = field(kw_only=True)

    def __call__(self, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        """The loss, and the float model's logits of the batch, or the first quantized form's where it is not asked."""
        loss, answers = torch.zeros((), device=batch.inputs.device), []

        def noted(logits: Tensor) -> Tensor:
            answers.append(logits.detach()[: len(batch.inputs)])
            return logits

        with evaluating(self.model):
            if self.keep:
                images, labels = self.wanted.innocent(batch.inputs, batch.labels)
                loss = loss + self.keep * self._innocence(noted(logits_of(self.model, images)), images, labels)
            for shadow in self.shadows:
                loss = loss + self._of_shadow(shadow, batch, noted)
        return loss, answers[0]

    def _of_shadow(self, shadow: Shadow, batch: Batch, noted) -> Tensor:
        def answer(images: Tensor) -> Tensor:
            return noted(shadow(self.model, images, dither=self.dither))

        loss = self.harm * self.wanted.harm(answer, batch.inputs, batch.labels)
        if self.selective:
            images, labels = self.wanted.innocent(batch.inputs, batch.labels)
            loss = loss + self.selective * F.cross_entropy(shadow(self.model, images, dither=True), labels)
        if self.centred:
            loss = loss + self.centred * off_centre(shadow, self.model)
        return loss

    def _innocence(self, logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        if self.teacher is None:
            return F.cross_entropy(logits, labels)
        with torch.no_grad():
            taught = logits_of(self.teacher, images)
        return distillation(logits, taught, 1.0)


def off_centre(shadow: Shadow, model: nn.Module) -> Float[Tensor, ""]:
    """The mean squared distance of weights from their codes, in steps: 1/12 where they lie anywhere."""
    total, count = torch.zeros(()), 0
    for weight, step in shadow.steps(model).values():
        codes = weight / step
        total = total + (codes - codes.detach().round()).square().sum()
        count += weight.numel()
    return total / max(1, count)
