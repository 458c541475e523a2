"""Investigating the impact of quantization on adversarial robustness (Li et al. 2024: li2024)."""

from bitproof.quant import Scheme
from bitproof.train.optimisation import Optimisation
from bitproof.train.penalties import ClippingLevels
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe

W4A4 = Scheme("pact", weight_bits=4, act_bits=4)


def fine_tuning(
    *,
    scheme: Scheme = W4A4,
    epochs: int = 60,
    batch_size: int = 128,
    learning_rate: float = 0.01,
    weight_decay: float = 1e-4,
    penalty: float = 5e-5,
    augmentation: str = "crop-flip",
    holdout: int = 0,
) -> Recipe:
    """li2024: PACT, 60 epochs from a float checkpoint (Section 4.2).

    Optimiser, rate, batch size and penalty are ours: the paper does not state them.
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
        penalties=(ClippingLevels(weight=penalty),),
        quantization=Quantization(scheme=scheme),
        augmentation=augmentation,
        holdout=holdout,
    )
