"""lin2019's adversarial training (Lin, Gan & Han 2019, arXiv 1904.08444, Section 5.2): a budget a batch.

    eps' ~ N(0, delta),    eps = min(|eps'|, 2 delta)

after Kurakin, Goodfellow & Bengio 2017 (arXiv 1611.01236). PGD takes floor(min(eps + 4, 1.25 eps)) steps of one grey
level each, which would be none below 0.8 levels; here it takes one then, cut to the ball.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from bitproof.attacks import FGSM, PGD, RFGSM, UnitStepPGD
from bitproof.core.balls import check_eps
from bitproof.core.rng import Rng
from bitproof.errors import lookup
from bitproof.train.batches import Batch
from bitproof.train.crafting import check_gradient
from bitproof.train.objectives.adversarial import adversarial_label, attacked
from bitproof.train.objectives.base import Loss, Objective, OneStep
from bitproof.train.objectives.cross_entropy import CrossEntropy

KINDS: dict[str, Callable[..., PGD]] = {"fgsm": FGSM, "r+fgsm": RFGSM, "pgd": UnitStepPGD}


@dataclass(frozen=True, kw_only=True)
class RandomBudget(Objective):
    """Another objective, on images that an attack makes within a budget drawn for each batch (Lin, Gan & Han 2019).

    Attributes:
        attack: "fgsm", "r+fgsm" or "pgd" (by single grey levels).
        delta: of the budget, under linf in [0, 1] pixel units.
        gradient: what a quantized model is attacked along, see `Adversarial`.
        objective: what is minimised on them.
    """

    attack: str = "r+fgsm"
    delta: float = 8 / 255
    gradient: str = "ste"
    objective: Objective = field(default_factory=CrossEntropy)

    def __post_init__(self) -> None:
        lookup(KINDS, self.attack, "attack")
        check_eps(2 * self.delta, "linf")
        check_gradient(self.gradient)

    @property
    def label(self) -> str:
        attack = f"{self.attack} linf |N(0, {self.delta * 255:.4g}/255)|"
        return f"{self.objective.label} on {adversarial_label(attack, self.gradient)}"

    @property
    def one_step(self) -> OneStep | None:
        if self.attack == "pgd":
            return None
        return OneStep(eps=self.delta, gradient=self.gradient, objective=self.objective)

    def start(self, teacher: nn.Module) -> Loss:
        own = self.objective.start(teacher)

        def loss(model: nn.Module, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
            attack = KINDS[self.attack](eps=self.budget(batch, rng))
            return own(model, attacked(model, batch, rng, attack, self.gradient), rng)

        return loss

    def budget(self, batch: Batch, rng: Rng) -> float:
        """The eps of a batch: it follows from the run's seed and the batch's step."""
        draw = Rng(rng.seed, np.array([batch.step]), (*rng.path, "budget")).normal(())
        return min(self.delta * abs(draw.item()), 2 * self.delta)
