"""BinaryConnect (Courbariaux, Bengio & David 2015, arXiv 1511.00363)."""

from bitproof.quant import Scheme
from bitproof.train.objectives import SquaredHinge
from bitproof.train.optimisation import Optimisation
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe

W1A32 = Scheme("binaryconnect", weight_bits=1, act_bits=32)


def binaryconnect(
    *,
    scheme: Scheme = W1A32,
    epochs: int = 500,
    batch_size: int = 50,
    learning_rate: float = 1e-3,
    decay: float = 3e-4,
    augmentation: str = "none",
    holdout: int = 5000,
) -> Recipe:
    """BinaryConnect: Adam, squared hinge, exponential decay, 500 epochs, the best on 5,000 held out (Section 3.2).

    The rates are those of the authors' later BinaryNet script; the paper does not state them.
    """
    return Recipe(
        optimisation=Optimisation(
            epochs=epochs,
            batch_size=batch_size,
            optimizer="adam",
            learning_rate=learning_rate,
            weight_decay=0.0,
            schedule="exponential",
            decay=decay,
        ),
        objective=SquaredHinge(),
        quantization=Quantization(scheme=scheme),
        augmentation=augmentation,
        holdout=holdout,
    )
