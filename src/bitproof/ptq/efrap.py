"""EFRAP: roundings that leave the nearest level where that costs little (CVPR 2024, arXiv 2405.12725).

A backdoor that quantization activates lives in the errors of nearest rounding, so these are turned over, and the output
of each layer is kept as it was. Per layer, with h = sigmoid(V),

    mean |f^ - f|^2  +  sum |e| CE(h, 1 - nearest)  +  0.01 sum 1 - |2 h - 1|^2

where e is the error of nearest rounding and `nearest` is 1 where that goes to the further level. As the public code has
it: an exponent of 2 that does not fall, both terms from the first step on, a sum over weights beside a mean over
outputs. So the turning weighs more the larger the steps: much at 4 bits, little at 8.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.ptq.rounding import PlainRounding, undecided

WEIGHT, EXPONENT = 0.01, 2.0
"""Of the last term."""

TINY = 1e-8
"""What keeps logarithms finite."""


class TurnedRounding(PlainRounding):
    """EFRAP's: a plain sigmoid, drawn away from the nearest level by the error that rounding to it makes."""

    def penalty(self, done: float) -> Float[Tensor, ""]:
        h, nearest = self.h(), (self.share > 0.5).to(self.share)
        error = torch.minimum(self.share, 1 - self.share) * self.gap.abs()
        turned = -(1 - nearest) * (h + TINY).log() - nearest * (1 - h + TINY).log()
        return (error * turned).sum() + WEIGHT * undecided(h, EXPONENT)
