"""LSQ: learned step size quantization (Esser et al. 2020, arXiv 1902.08153)."""

from bitproof.quant import Scheme
from bitproof.train.optimisation import Optimisation
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe

W4A4 = Scheme("lsq", weight_bits=4, act_bits=4)


def lsq(
    *,
    scheme: Scheme = W4A4,
    epochs: int = 90,
    batch_size: int = 256,
    learning_rate: float = 0.01,
    weight_decay: float = 1e-4,
    augmentation: str = "crop-flip",
    holdout: int = 0,
) -> Recipe:
    """LSQ: SGD, cosine, 90 epochs from a float checkpoint (Esser et al. 2020, Section 3).

    The rate is the paper's for 2 to 4 bits; use 0.001 and a single epoch for 8 bits, and a weight decay of
    0.5e-4 for 3 and 0.25e-4 for 2 bits. The paper trains on ImageNet; crop-flip is its counterpart on CIFAR.
    """
    return Recipe(
        optimisation=Optimisation(
            epochs=epochs,
            batch_size=batch_size,
            optimizer="sgd",
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule="cosine",
        ),
        quantization=Quantization(scheme=scheme),
        augmentation=augmentation,
        holdout=holdout,
    )
