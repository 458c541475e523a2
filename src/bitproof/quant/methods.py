"""The table of quantization methods.

Adding one: a file with its quantizers, which ends in its `Method`, and a line in `METHODS`.
"""

from bitproof.quant.affine import AFFINE
from bitproof.quant.binaryconnect import BINARYCONNECT, BINARYCONNECT_STOCHASTIC
from bitproof.quant.binarynet import BINARYNET
from bitproof.quant.bounded import RELU1, RELU6, TANH, TANH_DYNAMIC
from bitproof.quant.dorefa import DOREFA
from bitproof.quant.lsq import LSQ
from bitproof.quant.lsq_plus import LSQ_PLUS
from bitproof.quant.method import Method
from bitproof.quant.pact import PACT
from bitproof.quant.pwlq import PWLQ, PWLQ_GAUSS, PWLQ_LAPLACE, PWLQ_OVERLAPPING
from bitproof.quant.ternary import TTQ, TWN
from bitproof.quant.xnor import XNOR

METHODS: dict[str, Method] = {
    "affine": AFFINE,
    "pwlq": PWLQ,
    "pwlq-gauss": PWLQ_GAUSS,
    "pwlq-laplace": PWLQ_LAPLACE,
    "pwlq-overlapping": PWLQ_OVERLAPPING,
    "dorefa": DOREFA,
    "pact": PACT,
    "lsq": LSQ,
    "lsq+": LSQ_PLUS,
    "binaryconnect": BINARYCONNECT,
    "binaryconnect-stochastic": BINARYCONNECT_STOCHASTIC,
    "binarynet": BINARYNET,
    "xnor": XNOR,
    "twn": TWN,
    "ttq": TTQ,
    "relu6": RELU6,
    "relu1": RELU1,
    "tanh": TANH,
    "tanh-dynamic": TANH_DYNAMIC,
}
