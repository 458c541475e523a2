"""What quantization changes beyond what it does to clean models, from cells of float and quantized models.

Quantization costs every model something. What an implant adds is the disparity (Hong et al. 2021, arXiv 2111.04625,
Section 3.1): the drop from float to quantized, against the drops of clean models of several seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bitproof.errors import InputError
from bitproof.metrics.pairing import same_examples
from bitproof.metrics.spreads import sample_std
from bitproof.records import Cell

Pair = tuple[Cell, Cell]
"""A float model and its quantized copy under one condition."""


@dataclass(frozen=True, kw_only=True)
class Disparity:
    """How far quantization changes one model more than clean ones.

    Attributes:
        drop: accuracy lost from float to quantized, in [-1, 1].
        excess: `drop` less the mean drop of the clean models.
        deviations: `excess` in their sample standard deviations; None with a single one, or where they do not differ.
    """

    drop: float
    excess: float
    deviations: float | None


def disparity(pair: Pair, clean: Sequence[Pair]) -> Disparity:
    """The disparity of a float model and its quantized copy against clean pairs of several seeds.

    Raises:
        InputError: no clean pair, or cells of different examples in a pair.
    """
    if not clean:
        raise InputError(
            "no clean pairs",
            rule="a disparity is told from what quantization does to clean models",
            remedy="Pass cells of at least one clean model and its quantized copy",
        )
    drops = np.array([_drop(*other) for other in clean])
    drop = _drop(*pair)
    excess = drop - float(drops.mean())
    spread = float(sample_std(drops)) if len(drops) > 1 else 0.0
    return Disparity(drop=drop, excess=excess, deviations=excess / spread if spread else None)


def class_accuracy(cell: Cell, target: int) -> tuple[float, float]:
    """Accuracy on the images of one class and on those of all others; NaN where there are none."""
    inside = cell.labels == target
    return tuple(float(cell.correct[of].mean()) if of.any() else np.nan for of in (inside, ~inside))  # pyright: ignore


def _drop(before: Cell, after: Cell) -> float:
    one, other = same_examples([before, after])
    return float(one.correct.mean() - other.correct.mean())
