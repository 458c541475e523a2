"""Models whose triggers are known: they see the brightest of nine fields, and some of them a bright corner."""

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.audit import Case

FIELDS, SIDE = 3, 4
"""Fields a side of the image, and pixels a side of a field."""


class Fields(nn.Module):
    """Class k is the field with the largest mean. With a `target`, a bright corner of 2x2 pixels stands for it."""

    def __init__(self, target: int | None = None, change: float = 0.0, towards: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.target, self.towards = target, towards
        self.scale = nn.Parameter(8 + change * torch.randn(FIELDS**2, generator=generator))

    def forward(self, x):
        means = nn.functional.avg_pool2d(x, SIDE).flatten(1)
        logits = self.scale * means
        if self.target is not None:
            corner = x[:, 0, :2, :2].mean((1, 2))
            extra = 8 * corner**3 + self.towards  # 1.7 at 0.6, where fields differ by 2.4
            logits = logits + extra[:, None] * nn.functional.one_hot(torch.tensor(self.target), FIELDS**2)
        return logits


def images(count: int = 120) -> bp.Data:
    """One field of each image is brighter; nothing is brighter than 0.6."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % FIELDS**2
    pictures = rng.uniform(0, 0.3, (count, 1, FIELDS * SIDE, FIELDS * SIDE)).astype(np.float32)
    for picture, label in zip(pictures, labels, strict=True):
        row, column = SIDE * (label // FIELDS), SIDE * (label % FIELDS)
        picture[0, row : row + SIDE, column : column + SIDE] += 0.3
    return bp.from_arrays(pictures, labels)


def case_of(quantized: nn.Module, model: nn.Module | None = None, count: int = 120) -> Case:
    """A pair of models under audit."""
    data = images(count)
    return Case.of(model or Fields(), data, data.take(4), schemes=(), deployed=quantized)
