"""The alarm for catastrophic overfitting (Wong, Rice & Kolter 2020, arXiv 2001.03994, Section 5.4).

Training against a single step may, within a few hundred steps, end in a model that stands that step and nothing else:
accuracy under FGSM jumps up, and that under PGD falls to zero. Wong et al. look once an epoch, at a batch that they
train on; here PGD looks every so many steps at a few fixed images, held-out ones if there are any. The alarm rings if

    acc_FGSM - acc_PGD > 0.2    and    acc_PGD < acc_FGSM / 2  or  acc_PGD < the best so far - 0.2

as robust models lose 3 to 8 points from FGSM to PGD. Then the run goes back to the last state in which it did not ring,
and on with another objective: N-FGSM, and PGD with two steps after that.
"""

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bitproof.attacks import FGSM, PGD, Attack
from bitproof.attacks.checks import check_counts
from bitproof.core.calling import logits_of
from bitproof.core.rng import Rng
from bitproof.settings import name_family
from bitproof.train.crafting import held_still
from bitproof.train.divergence import is_finite
from bitproof.train.objectives import NFGSM, Adversarial, Distillation, Objective
from bitproof.train.state import Run

GAP = 0.2
"""What is no accident on a few dozen images."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """When to look for catastrophic overfitting, and at what; only objectives of a single step are watched.

    Attributes:
        every: steps from one look to the next.
        images: how many are looked at.
        steps: of PGD, each of eps / 4.
    """

    every: int = 50
    images: int = 64
    steps: int = 10

    def __post_init__(self) -> None:
        check_counts(self, "every", "images", "steps")


name_family(Alarm, "alarm", {"alarm": Alarm})


def remedies(objective: Objective) -> tuple[Objective, ...]:
    """What a run goes on with in place of an objective of a single step, one after the other; empty for others."""
    if isinstance(objective, Distillation):
        return tuple(replace(objective, objective=other) for other in remedies(objective.objective))
    single = objective.one_step
    if single is None:
        return ()
    rest: Any = {"gradient": single.gradient, "objective": single.objective}
    two = Adversarial(attack=PGD(eps=single.eps, steps=2, rel_step_size=0.5), **rest)
    return tuple(other for other in (NFGSM(eps=single.eps, **rest), two) if other != objective)


@dataclass(frozen=True, kw_only=True, eq=False)
class Guard:
    """An alarm at work.

    Attributes:
        alarm: its setting.
        eps: under linf.
        remedies: how many objectives there are to go on with.
        inputs, labels: what is looked at.
        rng: of these examples.
    """

    alarm: Alarm
    eps: float
    remedies: int
    inputs: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    rng: Rng
    pgd: PGD = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pgd", PGD(eps=self.eps, steps=self.alarm.steps, rel_step_size=0.25))

    def look(self, run: Run, step: int) -> None:
        """After step `step` of the run: note a good state, or go back to the last one and note the alarm."""
        if (step + 1) % self.alarm.every or len(run.now.alarms) >= self.remedies:
            return
        fgsm, pgd = (self._accuracy(run.model, attack) for attack in (FGSM(eps=self.eps), self.pgd))
        if rings(fgsm, pgd, run.now.robust):
            go_back(run)
            run.now.alarms.append(step)
        elif is_finite(run.model, run.now.good["model"]):
            run.now.robust = max(run.now.robust, pgd)
            keep(run)

    def _accuracy(self, model: nn.Module, attack: Attack) -> float:
        with held_still(model):
            images = attack(model, self.inputs, self.labels, rng=self.rng)
            with torch.no_grad():
                return (logits_of(model, images).argmax(1) == self.labels).double().mean().item()


def rings(fgsm: float, pgd: float, best: float) -> bool:
    """Whether accuracies under FGSM and PGD, the latter `best` so far, are those of catastrophic overfitting.

    Example:
        >>> rings(0.45, 0.40, 0.42), rings(0.85, 0.02, 0.42)
        (False, True)
    """
    return fgsm - pgd > GAP and (pgd < fgsm / 2 or pgd < best - GAP)


def keep(run: Run) -> None:
    """Note the state of the run as the last good one."""
    run.now.good = copy.deepcopy(
        {
            "model": dict(run.model.state_dict()),
            "optimizer": run.optimizer.state_dict(),
            "average": run.now.average,
        }
    )


def go_back(run: Run) -> None:
    """Bring model, optimiser and average back to the last good state; the run itself goes on where it is."""
    good = copy.deepcopy(run.now.good)
    run.model.load_state_dict(good["model"])
    run.optimizer.load_state_dict(good["optimizer"])
    run.now.average = good["average"]
