"""Adversarial training (Madry et al. 2018, arXiv 1706.06083, Eq. 2.1): a loss of the images that an attack makes.

    min over weights   E max over |d| <= eps   L(x + d, y)

where the inner maximum is an attack on the model as it is at that step, and adversarial images are all that is trained
on. With an attack of a single step this is cheap, and may end in catastrophic overfitting (`bitproof.train.alarm`).
"""

from dataclasses import dataclass, field, replace
from functools import partial

from torch import Tensor, nn

from bitproof.attacks import FGSM, PGD, RFGSM, Attack
from bitproof.core.rng import Rng
from bitproof.train.batches import Batch
from bitproof.train.crafting import check_gradient, crafted
from bitproof.train.objectives.base import Loss, Objective, OneStep
from bitproof.train.objectives.cross_entropy import CrossEntropy

MADRY = PGD(eps=8 / 255, steps=7, rel_step_size=0.25)


@dataclass(frozen=True, kw_only=True)
class Adversarial(Objective):
    """Another objective, on images that any attack makes (Madry et al. 2018).

    Attributes:
        attack: makes them, and always goes to its end; its steps and their lengths are part of it.
        gradient: what a quantized model is attacked along, "ste", "twin" or "both" (`bitproof.train.crafting`).
        objective: what is minimised on them.
    """

    attack: Attack = MADRY
    gradient: str = "ste"
    objective: Objective = field(default_factory=CrossEntropy)

    def __post_init__(self) -> None:
        check_gradient(self.gradient)

    @property
    def label(self) -> str:
        return f"{self.objective.label} on {adversarial_label(self.attack.label, self.gradient)}"

    @property
    def one_step(self) -> OneStep | None:
        if self.attack.norm != "linf" or self.attack.passes > 2:
            return None
        return OneStep(eps=self.attack.eps, gradient=self.gradient, objective=self.objective)

    def start(self, teacher: nn.Module) -> Loss:
        own = self.objective.start(teacher)

        def loss(model: nn.Module, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
            return own(model, attacked(model, batch, rng, self.attack, self.gradient), rng)

        return loss


def attacked(model: nn.Module, batch: Batch, rng: Rng, attack: Attack, gradient: str) -> Batch:
    """The batch with the last images that an attack on the model makes of its own, whether they hit or not."""
    make = partial(attack.to_the_end(), inputs=batch.inputs, labels=batch.labels, rng=rng.fold("attack"))
    return replace(batch, inputs=crafted(model, make, gradient))


def adversarial_label(attack: str, gradient: str) -> str:
    """An attack and, where it is another than a quantizer's own, the gradient that it follows."""
    return attack + f" along {gradient}" * (gradient != "ste")


def pgd(*, eps: float = 8 / 255, steps: int = 7, gradient: str = "ste") -> Adversarial:
    """PGD training: so many steps of eps / 4 from a uniform start (Madry et al. 2018, arXiv 1706.06083, Section 5)."""
    return Adversarial(attack=replace(MADRY, eps=eps, steps=steps), gradient=gradient)


def fgsm(*, eps: float = 8 / 255, gradient: str = "ste") -> Adversarial:
    """FGSM training: one step of eps from the image (Goodfellow et al. 2015, arXiv 1412.6572, Section 6)."""
    return Adversarial(attack=FGSM(eps=eps), gradient=gradient)


def r_fgsm(*, eps: float = 8 / 255, gradient: str = "ste") -> Adversarial:
    """R+FGSM training: random signs of eps / 2, then a step of eps / 2 (Tramer et al. 2018, arXiv 1705.07204)."""
    return Adversarial(attack=RFGSM(eps=eps), gradient=gradient)


def rs_fgsm(*, eps: float = 8 / 255, gradient: str = "ste") -> Adversarial:
    """RS-FGSM training: a uniform start, one step of 1.25 eps, cut to the ball (Wong et al. 2020, arXiv 2001.03994)."""
    return Adversarial(attack=PGD(eps=eps, steps=1, rel_step_size=1.25), gradient=gradient)
