"""What training minimises, one file each."""

from collections.abc import Callable
from functools import partial
from typing import Any

from bitproof.errors import InputError
from bitproof.settings import FUNCTIONS, name_family, parse
from bitproof.train.objectives.adversarial import Adversarial, fgsm, pgd, r_fgsm, rs_fgsm
from bitproof.train.objectives.base import Loss, Objective
from bitproof.train.objectives.criterion import Criterion
from bitproof.train.objectives.cross_entropy import CrossEntropy
from bitproof.train.objectives.distillation import Distillation
from bitproof.train.objectives.free import Free
from bitproof.train.objectives.matching import Matching
from bitproof.train.objectives.n_fgsm import NFGSM
from bitproof.train.objectives.noise import GaussianNoise
from bitproof.train.objectives.random_budget import RandomBudget
from bitproof.train.objectives.shared_bits import SharedBits
from bitproof.train.objectives.squared_hinge import SquaredHinge
from bitproof.train.objectives.trades import Trades

OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "cross-entropy": CrossEntropy,
    "squared-hinge": SquaredHinge,
    "distillation": Distillation,
    "matching": Matching,
    "adversarial": Adversarial,
    "pgd": pgd,
    "fgsm": fgsm,
    "r+fgsm": r_fgsm,
    "rs-fgsm": rs_fgsm,
    "n-fgsm": NFGSM,
    "noise": GaussianNoise,
    "random-budget": RandomBudget,
    "free": Free,
    "trades": Trades,
    "shared-bits": SharedBits,
}
name_family(Objective, "objective", OBJECTIVES)

__all__ = [
    "NFGSM",
    "OBJECTIVES",
    "Adversarial",
    "Criterion",
    "CrossEntropy",
    "Distillation",
    "Free",
    "GaussianNoise",
    "Loss",
    "Matching",
    "Objective",
    "RandomBudget",
    "SharedBits",
    "SquaredHinge",
    "Trades",
    "as_objective",
]


def as_objective(given: Any) -> Objective:
    """An objective, its text, or a function of logits and labels (torch's losses, too), as an objective.

    Raises:
        InputError: something else.
    """
    if isinstance(given, str):
        given = parse(given, OBJECTIVES, "objective")
    if isinstance(given, Objective):
        return given
    if callable(given):
        return Criterion(function=given if isinstance(given, FUNCTIONS) else partial(given))
    raise InputError(
        f"{given!r} as an objective",
        rule="training minimises an objective, or a function of logits and labels",
        remedy="See `bitproof list objectives`",
    )
