"""The table of quantization methods.

Adding one: a file with its quantizers, which ends in its `Method`, and a line in `METHODS`.
"""

import torch
from torch import Tensor, nn

from bitproof.quant.binaryconnect import BINARYCONNECT, BINARYCONNECT_STOCHASTIC
from bitproof.quant.binarynet import BINARYNET
from bitproof.quant.dorefa import DOREFA
from bitproof.quant.grid import AffineQuantizer, Codes
from bitproof.quant.lsq import LSQ
from bitproof.quant.lsq_plus import LSQ_PLUS
from bitproof.quant.method import Method
from bitproof.quant.pact import PACT
from bitproof.quant.ranges import RANGES, Histogram
from bitproof.quant.scheme import Scheme
from bitproof.quant.ternary import TTQ, TWN
from bitproof.quant.xnor import XNOR


def _affine_weights(weight: Tensor, scheme: Scheme) -> nn.Module:
    by_channel = scheme.granularity == "channel"
    shape = (weight.shape[0], *[1] * (weight.dim() - 1)) if by_channel else ()
    codes = Codes.of(scheme.weight_bits, symmetric=scheme.symmetric)
    quantizer = AffineQuantizer(codes, symmetric=scheme.symmetric, shape=shape).to(weight.device)
    rows = weight.detach().flatten(1) if by_channel else weight.detach().reshape(1, -1)
    of_tensor, _ = RANGES[scheme.weight_range]
    quantizer.set_range(*of_tensor(rows, scheme.percentile))
    return quantizer


def _affine_inputs(scheme: Scheme) -> nn.Module:
    return AffineQuantizer(Codes.of(scheme.act_bits, symmetric=scheme.act_symmetric), symmetric=scheme.act_symmetric)


def _observe_affine(quantizer: nn.Module, histogram: Histogram, scheme: Scheme) -> None:
    assert isinstance(quantizer, AffineQuantizer)
    _, of_stream = RANGES[scheme.act_range]
    low, high = of_stream(histogram, scheme.percentile)
    quantizer.set_range(torch.tensor(low), torch.tensor(high))


AFFINE = Method(
    description="Uniform grid over the observed range, post-training.",
    weight_bits=range(2, 9),
    act_bits=range(2, 9),
    weights=_affine_weights,
    inputs=_affine_inputs,
    observe=_observe_affine,
)

METHODS: dict[str, Method] = {
    "affine": AFFINE,
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
}
