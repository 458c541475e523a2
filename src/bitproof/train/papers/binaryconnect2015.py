"""BinaryConnect (Courbariaux, Bengio & David 2015, arXiv 1511.00363)."""

from typing import Unpack

from bitproof.quant import Scheme
from bitproof.train.changes import Changes, changed
from bitproof.train.objectives import SquaredHinge
from bitproof.train.optimisation import Optimisation
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe

W1A32 = Scheme("binaryconnect", weight_bits=1, act_bits=32, first="same", last="same")


def binaryconnect(**changes: Unpack[Changes]) -> Recipe:
    """BinaryConnect: Adam, squared hinge, exponential decay, 500 epochs, the best on 5,000 held out (Section 3.2).

    Rates, their scaling by layer, the uniform start, and the first and the last layer as binary as the others are those
    of the authors' CIFAR-10 script, whose network is `binaryconnect_cnn`. Its weights are stochastic, and tested as
    floats; here they are deterministic (`--scheme binaryconnect:w1a32,stochastic=true,first=same,last=same` is its
    own). Its images are whitened, and its rate falls once an epoch instead of every step.
    """
    recipe = Recipe(
        optimisation=Optimisation(
            epochs=500,
            batch_size=50,
            optimizer="adam",
            learning_rate=3e-3,
            weight_decay=0.0,
            schedule="exponential",
            decay=2e-6 / 3e-3,
            scaled=True,
        ),
        objective=SquaredHinge(),
        quantization=Quantization(scheme=W1A32, initial="uniform"),
        holdout=5000,
    )
    return changed(recipe, **changes)
