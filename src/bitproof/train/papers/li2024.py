"""Investigating the impact of quantization on adversarial robustness (Li et al. 2024: li2024).

PACT in 60 epochs from a float checkpoint, or in 200 from random weights (Section 4.2). Optimiser, rates, batch size and
penalty are ours: the paper does not state them.
"""

from typing import Unpack

from bitproof.train.changes import Changes, changed
from bitproof.train.papers.pact2018 import pact
from bitproof.train.recipe import Recipe


def fine_tuning(**changes: Unpack[Changes]) -> Recipe:
    """li2024: PACT, 60 epochs from a float checkpoint (Section 4.2); SGD and its settings are ours."""
    ours = pact(epochs=60, learning_rate=0.01, weight_decay=1e-4, penalty=5e-5, schedule="cosine", milestones=())
    return changed(ours, **changes)


def from_scratch(**changes: Unpack[Changes]) -> Recipe:
    """li2024: PACT, 200 epochs from random weights (Section 4.2); the rest is that of PACT's authors."""
    return changed(pact(epochs=200), **changes)
