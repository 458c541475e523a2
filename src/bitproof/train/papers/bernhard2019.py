"""Low-bitwidth quantization and adversarial robustness (Bernhard, Moellic & Dutertre 2019, arXiv 1909.12741).

Cross-entropy and Adam, whose rate falls in steps (Section 4.2), from random weights. Rate, steps, batch size and epochs
are ours: the paper does not state them. Its networks are `bernhard2019_cnn` and, for the fully binarized model,
`bernhard2019_cnn_hardtanh`; the same with `svhn` for SVHN.

    fully quantized     weights and the inputs of layers (Table 9): 1 bit BinaryNet, 2 to 4 bits DoReFa
    weights quantized   weights alone (Table 10): 1 bit BinaryConnect, 2 to 4 bits DoReFa
    never quantized     the images, and the weights of the last layer

The weights of the first layer and, if fully quantized, the input of the last are.
"""

from dataclasses import replace
from typing import Unpack

from bitproof.quant import Scheme
from bitproof.train.changes import Changes, changed
from bitproof.train.optimisation import Optimisation
from bitproof.train.quantization import Quantization
from bitproof.train.recipe import Recipe


def fully_quantized(bits: int) -> Scheme:
    """The scheme of w1a1 to w4a4 (Table 9)."""
    method = "binarynet" if bits == 1 else "dorefa"
    return Scheme(method, weight_bits=bits, act_bits=bits, first="weights", last="inputs")


def weights_quantized(bits: int) -> Scheme:
    """The scheme of w1a32 to w4a32 (Table 10)."""
    method = "binaryconnect" if bits == 1 else "dorefa"
    return Scheme(method, weight_bits=bits, act_bits=32, first="same", last="float")


def full(**changes: Unpack[Changes]) -> Recipe:
    """bernhard2019: the float model, with Adam and a rate that falls in steps (Section 4.2); their numbers are ours."""
    recipe = Recipe(
        optimisation=Optimisation(
            epochs=60,
            batch_size=128,
            optimizer="adam",
            learning_rate=1e-3,
            weight_decay=0.0,
            schedule="steps",
            milestones=(0.5, 0.75),
        )
    )
    return changed(recipe, **changes)


def quantized(**changes: Unpack[Changes]) -> Recipe:
    """bernhard2019: the same with quantizers in place, by default fully quantized to 2 bits (Tables 9 and 10)."""
    recipe = full()
    return changed(replace(recipe, quantization=Quantization(scheme=fully_quantized(2))), **changes)
