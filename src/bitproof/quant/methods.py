"""The table of quantization methods.

Adding one: a file with its quantizers, which ends in its `Method`, and a line in `METHODS`.
"""

from bitproof.quant.affine import Affine
from bitproof.quant.binaryconnect import BinaryConnect
from bitproof.quant.binarynet import BinaryNet
from bitproof.quant.bounded import ReLU1, ReLU6, Tanh
from bitproof.quant.dorefa import DoReFa
from bitproof.quant.lsq import LSQ
from bitproof.quant.lsq_plus import LSQPlus
from bitproof.quant.method import Method
from bitproof.quant.pact import PACT
from bitproof.quant.pwlq import PWLQ
from bitproof.quant.ternary import TTQ, TWN
from bitproof.quant.xnor import XNOR
from bitproof.settings import Table, name_family

METHODS: dict[str, type[Method]] = {
    "affine": Affine,
    "pwlq": PWLQ,
    "dorefa": DoReFa,
    "pact": PACT,
    "lsq": LSQ,
    "lsq+": LSQPlus,
    "binaryconnect": BinaryConnect,
    "binarynet": BinaryNet,
    "xnor": XNOR,
    "twn": TWN,
    "ttq": TTQ,
    "relu6": ReLU6,
    "relu1": ReLU1,
    "tanh": Tanh,
}

KNOWN: Table[type[Method]] = Table(METHODS, "bitproof.schemes")
"""The same, and those of other packages."""

name_family(Method, "quantization method", KNOWN)
