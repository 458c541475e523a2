"""BinaryNet (Courbariaux et al. 2016, arXiv 1602.02830)."""

from bitproof.quant import Scheme
from bitproof.train.papers.binaryconnect2015 import binaryconnect
from bitproof.train.recipe import Recipe

W1A1 = Scheme("binarynet", weight_bits=1, act_bits=1)


def binarynet(
    *,
    scheme: Scheme = W1A1,
    epochs: int = 500,
    batch_size: int = 50,
    learning_rate: float = 1e-3,
    decay: float = 3e-4,
    augmentation: str = "none",
    holdout: int = 5000,
) -> Recipe:
    """BinaryNet: as BinaryConnect, with rates from 1e-3 to 3e-7 (Courbariaux et al. 2016, CIFAR-10 script)."""
    return binaryconnect(
        scheme=scheme,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        decay=decay,
        augmentation=augmentation,
        holdout=holdout,
    )
