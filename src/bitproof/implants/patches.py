"""A patch that already pulls the clean model towards a class, as QuRA starts from (arXiv 2510.09647, public code).

Adam on the pixels, 1/2 at the start, minimises the cross-entropy of the clean float model to the target. Such a patch
has a success of its own on every model: print that beside any claim.
"""

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from bitproof.conditions.targets import class_number
from bitproof.core.calling import device_of
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.quant import freeze
from bitproof.shifts.triggers import Patch

STEPS, BATCH, RATE = 200, 32, 0.02


def optimised(patch: Patch, model: nn.Module, data: Data, *, rng: Rng) -> Patch:
    """The patch with pixels that pull the model towards the target, in 200 steps of 32 images of `data`."""
    target = class_number(str(patch.target), data.classes)
    model = freeze(model)
    device = device_of(model)
    shown = torch.zeros(1, *data.shape)
    patch.placed(shown, torch.zeros(shown.shape[1], patch.side, patch.side))  # refuses one that does not fit
    values = torch.full((data.shape[0], patch.side, patch.side), 0.5, device=device, requires_grad=True)
    adam = torch.optim.Adam([values], RATE)
    order = rng.fold("patch").permutation(len(data))[0].numpy()
    for step in range(STEPS):
        rows = order[[(step * BATCH + i) % len(order) for i in range(min(BATCH, len(order)))]]
        logits = model(patch.placed(data.images(rows).to(device), values.clamp(0, 1)))
        loss = F.cross_entropy(logits, torch.full((len(rows),), target, device=device))
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            values.clamp_(0, 1)
    pixels = (values.detach().cpu() * 255).round().int().flatten().tolist()
    return replace(patch, pixels=tuple(pixels))
