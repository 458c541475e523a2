"""Recipes of our own; the papers' are in `bitproof.train.papers`. What is set otherwise is named as in `Changes`."""

from typing import Unpack

from bitproof.quant import Scheme
from bitproof.train.changes import Changes, changed
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe

LSQ_W4A4 = Scheme("lsq", weight_bits=4, act_bits=4)


def standard(**changes: Unpack[Changes]) -> Recipe:
    """Train a model on labelled images, by default with AdamW under a one-cycle schedule."""
    return changed(Recipe(), **changes)


def qat(**changes: Unpack[Changes]) -> Recipe:
    """Train a quantized copy of a float model, be its weights random or those of a checkpoint."""
    return changed(Recipe(quantization=Quantization(scheme=LSQ_W4A4)), **changes)
