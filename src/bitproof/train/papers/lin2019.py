"""Defensive quantization (Lin, Gan & Han 2019, arXiv 1904.08444).

    lin2019-standard    float, lin2019-svhn on SVHN
    lin2019-quantized   activations of ReLU6 on few bits, weights float: "vanilla" in the tables
    lin2019-dq          the same with the regulariser of Eq. 8

Each of them is trained adversarially with `objective=random-budget(attack=NAME)`, where NAME is fgsm, r+fgsm or pgd
(Section 5.2), and on SVHN with the settings of `SVHN`. Bits are `scheme=relu6(w32a4,first=float,last=same)`, by default
the 1 bit of Tables 2 and 3; Table 1 has 1 to 5 bits and `orthogonality` of 3e-4, 6e-4 and 1e-3. `wrn_28_10_convex` and
`wrn_16_4_convex` are the networks with convex sums; feature squeezing is a defence of any trained model.

All take batch size, weight decay, Nesterov's momentum and augmentation from the protocol that the paper refers to
(Zagoruyko & Komodakis 2016). Pixels are in [0, 1], as in `wrn_28_10` and `wrn_16_4`. The protocol's dropout of .4 on
SVHN is left out, as the paper does not mention it; weight decay stays beside the regulariser, which pulls the other
way.
"""

from dataclasses import replace
from typing import Unpack

from bitproof.quant import Scheme
from bitproof.train.changes import Changes, changed
from bitproof.train.optimisation import Optimisation
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe

SVHN = Changes(epochs=160, learning_rate=0.01, milestones=(0.5, 0.75), decay=0.1, augmentation="none")
"""What is otherwise on SVHN (Section 5.2)."""


def activations_quantized(bits: int) -> Scheme:
    """ReLU6 activations of 1 to 5 bits; weights, and what the first layer reads, are float."""
    return Scheme("relu6", weight_bits=32, act_bits=bits, first="float", last="same")


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
    return changed(standard(**SVHN), **changes)


def quantized(**changes: Unpack[Changes]) -> Recipe:
    """lin2019: the same with ReLU6 activations of 1 bit, weights float: "vanilla quantization" (Sections 2.1, 5.2)."""
    return changed(replace(standard(), quantization=Quantization(scheme=activations_quantized(1))), **changes)


def defensive(**changes: Unpack[Changes]) -> Recipe:
    """lin2019: Defensive Quantization, the same with the regulariser of weight 2e-3 (Eq. 8, Section 5.2)."""
    return changed(quantized(orthogonality=2e-3), **changes)
