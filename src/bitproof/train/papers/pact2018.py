"""PACT: parameterized clipping activation (Choi et al. 2018, arXiv 1805.06085)."""

from typing import Unpack

from bitproof.quant import Scheme
from bitproof.train.changes import Changes, changed
from bitproof.train.optimisation import Optimisation
from bitproof.train.penalties import ClippingLevels
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe

W4A4 = Scheme("pact", weight_bits=4, act_bits=4)


def pact(**changes: Unpack[Changes]) -> Recipe:
    """PACT: SGD, 200 epochs in three steps, from random weights (Choi et al. 2018, Section 5, ResNet20 on CIFAR-10).

    The penalty on alpha is as strong as the weight decay: as an l2 term in the loss, half of it. Ours: 8 bits for the
    first and the last layer.
    """
    recipe = Recipe(
        optimisation=Optimisation(
            epochs=200,
            batch_size=128,
            optimizer="sgd",
            learning_rate=0.1,
            weight_decay=2e-4,
            schedule="steps",
            milestones=(0.3, 0.6),
        ),
        penalties=(ClippingLevels(weight=1e-4),),
        quantization=Quantization(scheme=W4A4),
        augmentation="crop-flip",
    )
    return changed(recipe, **changes)
