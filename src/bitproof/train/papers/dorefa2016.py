"""DoReFa-Net (Zhou et al. 2016, arXiv 1606.06160)."""

from bitproof.quant import Scheme
from bitproof.train.optimisation import Optimisation
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe

W4A4 = Scheme("dorefa", weight_bits=4, act_bits=4, first="float", last="float")


def dorefa(
    *,
    scheme: Scheme = W4A4,
    epochs: int = 200,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    augmentation: str = "none",
    holdout: int = 0,
) -> Recipe:
    """DoReFa-Net: Adam, 200 epochs, the rate halved halfway, from random weights (the authors' SVHN script)."""
    return Recipe(
        optimisation=Optimisation(
            epochs=epochs,
            batch_size=batch_size,
            optimizer="adam",
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule="steps",
            milestones=(0.5,),
            decay=0.5,
        ),
        quantization=Quantization(scheme=scheme),
        augmentation=augmentation,
        holdout=holdout,
    )
