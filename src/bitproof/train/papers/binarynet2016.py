"""BinaryNet (Courbariaux et al. 2016, arXiv 1602.02830)."""

from typing import Unpack

from bitproof.quant import Scheme
from bitproof.train.changes import Changes, changed
from bitproof.train.papers.binaryconnect2015 import binaryconnect
from bitproof.train.recipe import Recipe

W1A1 = Scheme("binarynet", weight_bits=1, act_bits=1, first="weights", last="same")


def binarynet(**changes: Unpack[Changes]) -> Recipe:
    """BinaryNet: as BinaryConnect, with rates from 1e-3 to 3e-7 (Courbariaux et al. 2016, CIFAR-10 script).

    As there, all weights are binary, and the images are not. The script's network is `binarynet_cnn`.
    """
    return changed(binaryconnect(scheme=W1A1, learning_rate=1e-3, decay=3e-4), **changes)
