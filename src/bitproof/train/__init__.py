"""Training: `(model, data, *, rng) -> new model`."""

from bitproof.train.loop import Epoch
from bitproof.train.papers import (
    BinaryConnectTraining,
    BinaryNetTraining,
    DoReFaTraining,
    Li2024FineTuning,
    Lin2019Standard,
    LSQTraining,
    PACTTraining,
)
from bitproof.train.qat import QAT
from bitproof.train.recipe import Recipe
from bitproof.train.standard import Standard

RECIPES: dict[str, type[Recipe]] = {
    "standard": Standard,
    "qat": QAT,
    "lsq": LSQTraining,
    "pact": PACTTraining,
    "dorefa": DoReFaTraining,
    "binaryconnect": BinaryConnectTraining,
    "binarynet": BinaryNetTraining,
    "li2024-fine-tuning": Li2024FineTuning,
    "lin2019-standard": Lin2019Standard,
}

__all__ = ["QAT", "RECIPES", "Epoch", "Recipe", "Standard"]
