"""Defensive quantization (Lin, Gan & Han 2019, arXiv 1904.08444)."""

from bitproof.train.optimisation import Optimisation
from bitproof.train.recipe import Recipe


def standard(
    *,
    epochs: int = 200,
    batch_size: int = 128,
    learning_rate: float = 0.1,
    weight_decay: float = 5e-4,
    augmentation: str = "crop-flip",
    holdout: int = 0,
) -> Recipe:
    """lin2019: SGD, 200 epochs, the rate times 0.2 at 60, 120 and 160 (Section 5.2, CIFAR-10).

    Batch size, weight decay and augmentation are those of the protocol it refers to (Zagoruyko & Komodakis 2016).
    """
    return Recipe(
        optimisation=Optimisation(
            epochs=epochs,
            batch_size=batch_size,
            optimizer="sgd",
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule="steps",
            milestones=(0.3, 0.6, 0.8),
            decay=0.2,
        ),
        augmentation=augmentation,
        holdout=holdout,
    )
