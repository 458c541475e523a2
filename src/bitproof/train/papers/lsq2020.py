"""LSQ: learned step size quantization (Esser et al. 2020, arXiv 1902.08153)."""

from typing import Unpack

from bitproof.quant import Scheme
from bitproof.train.changes import Changes, changed
from bitproof.train.optimisation import Optimisation
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe

W4A4 = Scheme("lsq", weight_bits=4, act_bits=4)


def lsq(**changes: Unpack[Changes]) -> Recipe:
    """LSQ: SGD, cosine, 90 epochs from a float checkpoint (Esser et al. 2020, Section 3).

    The rate is the paper's for 2 to 4 bits; use 0.001 and a single epoch for 8 bits, and a weight decay of
    0.5e-4 for 3 and 0.25e-4 for 2 bits. The paper trains on ImageNet; crop-flip is its counterpart on CIFAR. The first
    and the last layer have 8 bits, as in the paper, but on grids that calibration sets and training leaves.
    """
    recipe = Recipe(
        optimisation=Optimisation(
            epochs=90,
            batch_size=256,
            optimizer="sgd",
            learning_rate=0.01,
            weight_decay=1e-4,
            schedule="cosine",
        ),
        quantization=Quantization(scheme=W4A4),
        augmentation="crop-flip",
    )
    return changed(recipe, **changes)
