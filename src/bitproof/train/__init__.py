"""Training: `(model, data, *, rng) -> new model`."""

from collections.abc import Callable

from bitproof.train.objectives import OBJECTIVES, CrossEntropy, Distillation, Objective, SquaredHinge
from bitproof.train.optimisation import Optimisation
from bitproof.train.papers import (
    binaryconnect2015,
    binarynet2016,
    dorefa2016,
    li2024,
    lin2019,
    lsq2020,
    pact2018,
)
from bitproof.train.penalties import PENALTIES, ClippingLevels, Penalty
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe
from bitproof.train.recipes import qat, standard
from bitproof.train.state import Epoch

RECIPES: dict[str, Callable[..., Recipe]] = {
    "standard": standard,
    "qat": qat,
    "lsq": lsq2020.lsq,
    "pact": pact2018.pact,
    "dorefa": dorefa2016.dorefa,
    "binaryconnect": binaryconnect2015.binaryconnect,
    "binarynet": binarynet2016.binarynet,
    "li2024-fine-tuning": li2024.fine_tuning,
    "lin2019-standard": lin2019.standard,
}

__all__ = [
    "OBJECTIVES",
    "PENALTIES",
    "RECIPES",
    "ClippingLevels",
    "CrossEntropy",
    "Distillation",
    "Epoch",
    "Objective",
    "Optimisation",
    "Penalty",
    "Quantization",
    "Recipe",
    "SquaredHinge",
    "qat",
    "standard",
]
