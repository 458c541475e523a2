"""Certified robustness by randomised smoothing (Cohen, Rosenfeld & Kolter 2019, arXiv 1902.02918).

    cohen2019            float, on images under Gaussian noise, 90 epochs
    cohen2019-quantized  the same with LSQ w4a4 in place, from such a checkpoint; ours

(Section 4 and the authors' script for CIFAR-10: SGD at 0.1, a tenth every 30 epochs, weight decay 1e-4, batches of
256, sigma 0.25.) The quantized one is calibrated under the same noise: another sigma is `objective=noise(sigma=0.5)`
and `noise=0.5` there.
"""

from typing import Unpack

from bitproof.train.changes import Changes, changed
from bitproof.train.objectives.noise import GaussianNoise
from bitproof.train.papers.lsq2020 import lsq
from bitproof.train.recipe import Recipe
from bitproof.train.recipes import standard

SIGMA = 0.25


def noisy(**changes: Unpack[Changes]) -> Recipe:
    """cohen2019: float, on Gaussian noise of sigma 0.25, for certified radii (Cohen et al. 2019, arXiv 1902.02918)."""
    recipe = standard(
        objective=GaussianNoise(),
        epochs=90,
        batch_size=256,
        optimizer="sgd",
        learning_rate=0.1,
        weight_decay=1e-4,
        schedule="steps",
        milestones=(1 / 3, 2 / 3),
        augmentation="crop-flip",
    )
    return changed(recipe, **changes)


def quantized(**changes: Unpack[Changes]) -> Recipe:
    """cohen2019: LSQ w4a4 on the same noise (arXiv 1902.02918), from a float checkpoint trained on it; ours."""
    return changed(lsq(objective=GaussianNoise(), noise=SIGMA, epochs=10), **changes)
