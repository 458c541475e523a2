"""Training: `(model, data, *, seed=0) -> new model`."""

from collections.abc import Callable

from bitproof.train.alarm import Alarm
from bitproof.train.changes import changed
from bitproof.train.divergence import Diverged
from bitproof.train.objectives import (
    NFGSM,
    OBJECTIVES,
    Adversarial,
    CrossEntropy,
    Distillation,
    Free,
    GaussianNoise,
    Matching,
    Objective,
    RandomBudget,
    SharedBits,
    SquaredHinge,
    Trades,
)
from bitproof.train.optimisation import Optimisation
from bitproof.train.papers import (
    bernhard2019,
    binaryconnect2015,
    binarynet2016,
    cohen2019,
    dorefa2016,
    li2024,
    lin2019,
    lsq2020,
    pact2018,
    xiao2023,
)
from bitproof.train.papers.qaa2024 import Surrogate
from bitproof.train.penalties import PENALTIES, ClippingLevels, Orthogonality, Penalty
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
    "li2024-teacher": li2024.teacher,
    "li2024-adversarial": li2024.adversarial,
    "li2024-matching": li2024.matching,
    "cohen2019": cohen2019.noisy,
    "cohen2019-quantized": cohen2019.quantized,
    "lin2019-standard": lin2019.standard,
    "lin2019-svhn": lin2019.svhn,
    "lin2019-quantized": lin2019.quantized,
    "lin2019-dq": lin2019.defensive,
    "xiao2023": xiao2023.quantized,
}
SURROGATES: dict[str, Callable[..., Surrogate]] = {"qaa": Surrogate}
"""What makes a source of transfers, by the name that the command line takes."""

__all__ = [
    "NFGSM",
    "OBJECTIVES",
    "PENALTIES",
    "RECIPES",
    "SURROGATES",
    "Adversarial",
    "Alarm",
    "ClippingLevels",
    "CrossEntropy",
    "Distillation",
    "Diverged",
    "Epoch",
    "Free",
    "GaussianNoise",
    "Matching",
    "Objective",
    "Optimisation",
    "Orthogonality",
    "Penalty",
    "Quantization",
    "RandomBudget",
    "Recipe",
    "SharedBits",
    "SquaredHinge",
    "Surrogate",
    "Trades",
    "changed",
    "qat",
    "standard",
]
