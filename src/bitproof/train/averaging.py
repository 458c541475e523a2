"""The exponential moving average of what training learns: a smoother model than the last step's.

    m <- d m + (1 - d) w          after every step, with d = min(decay, (1 + t) / (10 + t)) at the t-th from 0

so that the first steps do not hold on to the start. Buffers, BatchNorm's statistics among them, are those of
the last step.
"""

import torch
from torch import Tensor, nn

from bitproof.core.copying import copied


@torch.no_grad()
def follow(average: dict[str, Tensor], model: nn.Module, decay: float, step: int) -> None:
    """Move the average, by parameter name, towards the model's parameters after its step `step`, in place."""
    decay = min(decay, (1 + step) / (10 + step))
    for name, value in model.named_parameters():
        average[name].lerp_(value, 1 - decay)


def averaged(model: nn.Module, average: dict[str, Tensor]) -> nn.Module:
    """A copy of the model with the averaged parameters."""
    smooth = copied(model)
    smooth.load_state_dict(average, strict=False)
    return smooth
