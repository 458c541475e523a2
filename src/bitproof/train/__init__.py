"""Training: `(model, data, *, rng) -> new model`."""

from collections.abc import Callable

from bitproof.train.changes import changed
from bitproof.train.objectives import OBJECTIVES, CrossEntropy, Distillation, Objective, SquaredHinge
from bitproof.train.optimisation import Optimisation
from bitproof.train.papers import (
    bernhard2019,
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
    "bernhard2019-full": bernhard2019.full,
    "bernhard2019-quantized": bernhard2019.quantized,
    "li2024-fine-tuning": li2024.fine_tuning,
    "li2024-from-scratch": li2024.from_scratch,
    "lin2019-standard": lin2019.standard,
    "lin2019-svhn": lin2019.svhn,
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
    "changed",
    "qat",
    "standard",
]
