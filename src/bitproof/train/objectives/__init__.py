"""What training minimises, one file each."""

from typing import Any

from bitproof.errors import InputError
from bitproof.settings import name_family, parse
from bitproof.train.objectives.base import Loss, Objective
from bitproof.train.objectives.criterion import Criterion
from bitproof.train.objectives.cross_entropy import CrossEntropy
from bitproof.train.objectives.distillation import Distillation
from bitproof.train.objectives.squared_hinge import SquaredHinge

OBJECTIVES: dict[str, type[Objective]] = {
    "cross-entropy": CrossEntropy,
    "squared-hinge": SquaredHinge,
    "distillation": Distillation,
}
name_family(Objective, "objective", OBJECTIVES)

__all__ = [
    "OBJECTIVES",
    "Criterion",
    "CrossEntropy",
    "Distillation",
    "Loss",
    "Objective",
    "SquaredHinge",
    "as_objective",
]


def as_objective(given: Any) -> Objective:
    """An objective, its text, or a function of logits and labels, as an objective.

    Raises:
        InputError: something else.
    """
    if isinstance(given, str):
        given = parse(given, OBJECTIVES, "objective")
    if isinstance(given, Objective):
        return given
    if callable(given):
        return Criterion(function=given)
    raise InputError(
        f"{given!r} as an objective",
        rule="training minimises an objective, or a function of logits and labels",
        remedy="See `bitproof list objectives`",
    )
