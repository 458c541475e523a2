"""RobustMQ (Xiao et al. 2023, arXiv 2308.02350: xiao2023): DoReFa, PACT and LSQ on ImageNet networks.

All quantized models of an architecture start from one float model (Sections 2.1 and 3.3.3), with 2, 4, 6 or 8 bits for
weights and activations. PACT's weights are those of DoReFa, as in its own paper. Optimiser, rates, epochs, batch size,
augmentation, and what the first and the last layer get, are ours: the paper does not state them.
"""

from typing import Unpack

from bitproof.errors import lookup
from bitproof.quant import Scheme
from bitproof.train.changes import Changes, changed
from bitproof.train.papers.lsq2020 import lsq
from bitproof.train.recipe import Recipe

METHODS = ("dorefa", "pact", "lsq")
BITS = (2, 4, 6, 8)


def scheme_of(method: str, bits: int) -> Scheme:
    """One of the twelve an architecture is quantized by (Section 3.3.3)."""
    lookup(dict.fromkeys(METHODS), method, "method of xiao2023")
    return Scheme(method, weight_bits=bits, act_bits=bits)


def quantized(**changes: Unpack[Changes]) -> Recipe:
    """xiao2023: quantization-aware from a float checkpoint, by default LSQ w4a4; SGD and cosine as LSQ's are ours."""
    return changed(lsq(scheme=scheme_of("lsq", 4)), **changes)
