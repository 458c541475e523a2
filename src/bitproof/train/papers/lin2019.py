"""Defensive quantization (Lin, Gan & Han 2019, arXiv 1904.08444).

Both recipes train float models, and take batch size, weight decay, Nesterov's momentum and augmentation from the
protocol that the paper refers to (Zagoruyko & Komodakis 2016). Pixels are in [0, 1], as in `wrn_28_10` and `wrn_16_4`.
The protocol's dropout of .4 on SVHN is left out, as the paper does not mention it.
"""

from typing import Unpack

from bitproof.train.changes import Changes, changed
from bitproof.train.optimisation import Optimisation
from bitproof.train.recipe import Recipe


def standard(**changes: Unpack[Changes]) -> Recipe:
    """lin2019: SGD, 200 epochs, the rate times 0.2 at 60, 120 and 160 (Section 5.2, CIFAR-10)."""
    recipe = Recipe(
        optimisation=Optimisation(
            epochs=200,
            batch_size=128,
            optimizer="sgd",
            learning_rate=0.1,
            nesterov=True,
            weight_decay=5e-4,
            schedule="steps",
            milestones=(0.3, 0.6, 0.8),
            decay=0.2,
        ),
        augmentation="crop-flip-reflect",
    )
    return changed(recipe, **changes)


def svhn(**changes: Unpack[Changes]) -> Recipe:
    """lin2019: SGD, 160 epochs, the rate times 0.1 at 80 and 120, images as they are (Section 5.2, SVHN)."""
    ours = standard(epochs=160, learning_rate=0.01, milestones=(0.5, 0.75), decay=0.1, augmentation="none")
    return changed(ours, **changes)
