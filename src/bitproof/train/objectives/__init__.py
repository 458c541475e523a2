"""What training minimises, one file each."""

from bitproof.settings import name_family
from bitproof.train.objectives.base import Loss, Objective
from bitproof.train.objectives.cross_entropy import CrossEntropy
from bitproof.train.objectives.distillation import Distillation
from bitproof.train.objectives.squared_hinge import SquaredHinge

OBJECTIVES: dict[str, type[Objective]] = {
    "cross-entropy": CrossEntropy,
    "squared-hinge": SquaredHinge,
    "distillation": Distillation,
}
name_family(Objective, "objective", OBJECTIVES)

__all__ = ["OBJECTIVES", "CrossEntropy", "Distillation", "Loss", "Objective", "SquaredHinge"]
