"""PACT: parameterized clipping activation (Choi et al. 2018, arXiv 1805.06085)."""

from bitproof.quant import Scheme
from bitproof.train.optimisation import Optimisation
from bitproof.train.penalties import ClippingLevels
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe

W4A4 = Scheme("pact", weight_bits=4, act_bits=4)


def pact(
    *,
    scheme: Scheme = W4A4,
    epochs: int = 200,
    batch_size: int = 128,
    learning_rate: float = 0.1,
    weight_decay: float = 2e-4,
    penalty: float = 1e-4,
    augmentation: str = "crop-flip",
    holdout: int = 0,
) -> Recipe:
    """PACT: SGD, 200 epochs in three steps, from random weights (Choi et al. 2018, Section 5, ResNet20 on CIFAR-10).

    The penalty on alpha is as strong as the weight decay: as an l2 term in the loss, half of it.
    """
    return Recipe(
        optimisation=Optimisation(
            epochs=epochs,
            batch_size=batch_size,
            optimizer="sgd",
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule="steps",
            milestones=(0.3, 0.6),
        ),
        penalties=(ClippingLevels(weight=penalty),),
        quantization=Quantization(scheme=scheme),
        augmentation=augmentation,
        holdout=holdout,
    )
