"""MM-BD: how large the margin of each class can be made, from random images alone (Wang et al. 2024, arXiv 2205.06900).

    s_t = max over x of  z_t(x) - max over k != t of z_k(x)       by gradient ascent in [0, 1], from several random x

A backdoor makes its target's margin stand out. The paper fits a gamma distribution to the other classes and asks how
often the largest of so many would be larger; with ten classes its 5% are 30%, as the largest is left out of the fit.
Here the logarithms are judged by Grubbs' test, which knows that the largest was looked at because it is.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.audit.inquiry import Meter
from bitproof.core.calling import answer
from bitproof.core.losses import margin
from bitproof.core.rng import Rng

RATE, MOMENTUM = 1e-2, 0.2
"""Of the ascent; the step is that of a gradient of length 1 times the number of values."""


def largest_margins(
    model: nn.Module,
    shape: tuple[int, int, int],
    targets: list[int],
    *,
    starts: int,
    steps: int,
    rng: Rng,
    meter: Meter,
) -> Float[Tensor, " k"]:
    """The largest margin that was found for each target, in logits.

    Args:
        model: frozen.
        shape: of an image.
        targets: classes.
        starts: random images a class.
        steps: of the ascent.
        rng: keyed by one id.
        meter: counts passes.
    """
    best = torch.full((len(targets),), -torch.inf)
    x = rng.fold("margins").uniform((len(targets) * starts, *shape))[0]
    goals = torch.tensor(targets).repeat_interleave(starts)
    speed = torch.zeros_like(x)
    for step in range(steps + 1):
        x.requires_grad_()
        logits = answer(model, x)
        gains = -margin(logits, goals.to(logits.device))
        best = torch.maximum(best, gains.detach().cpu().view(len(targets), starts).amax(1))
        meter.count(forwards=len(x), backwards=len(x) * (step < steps))
        if step < steps:
            (gradient,) = torch.autograd.grad(gains.sum(), x)
            length = gradient.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)
            speed = MOMENTUM * speed + gradient / length
            x = (x.detach() + RATE * x[0].numel() ** 0.5 * speed).clamp(0, 1)
    return best
