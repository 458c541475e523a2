"""DoReFa-Net (Zhou et al. 2016, arXiv 1606.06160)."""

from typing import Unpack

from bitproof.quant import Scheme
from bitproof.train.changes import Changes, changed
from bitproof.train.optimisation import Optimisation
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe

W1A2G4 = Scheme("dorefa", weight_bits=1, act_bits=2, grad_bits=4, first="float", last="float")


def dorefa(**changes: Unpack[Changes]) -> Recipe:
    """DoReFa-Net: Adam, 200 epochs, the rate halved halfway, from random weights (the authors' SVHN script).

    The bits are the script's example. It decays the last layer alone, here everything decays by its 1e-7. Left out: its
    network, and its random brightness and contrast.
    """
    recipe = Recipe(
        optimisation=Optimisation(
            epochs=200,
            batch_size=128,
            optimizer="adam",
            learning_rate=1e-3,
            eps=1e-5,
            weight_decay=1e-7,
            schedule="steps",
            milestones=(0.5,),
            decay=0.5,
        ),
        quantization=Quantization(scheme=W1A2G4),
    )
    return changed(recipe, **changes)
