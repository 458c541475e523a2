"""Investigating the impact of quantization on adversarial robustness (Li et al. 2024: li2024).

    li2024-teacher         float, adversarial (PGD-7), 200 epochs: the robust parameters
    li2024-fine-tuning     PACT, 60 epochs from a float checkpoint: "vanilla"
    li2024-from-scratch    PACT, 200 epochs from random weights
    li2024-adversarial     PACT, adversarial (PGD-7 through the quantized model), 60 epochs
    li2024-matching        PACT, matching a robust teacher (Vaishnavi, Eykholt & Rahmati 2022), 60 epochs

(Section 4.2). Optimiser, rates, batch size, penalty, and the eps of training are ours: the paper does not state them.
`share=0.01` and `0.1` are the parts of the data in Table 3. The whole grid is `bitproof.experiment.li2024`.
"""

from typing import Unpack

from bitproof.train.changes import Changes, changed
from bitproof.train.objectives import Matching
from bitproof.train.objectives.adversarial import pgd
from bitproof.train.papers.pact2018 import pact
from bitproof.train.recipe import Recipe
from bitproof.train.recipes import standard


def teacher(**changes: Unpack[Changes]) -> Recipe:
    """li2024: the robust float model, PGD-7 training at 8/255 in 200 epochs (Section 4.2); SGD as for PACT is ours."""
    ours = standard(
        objective=pgd(),
        epochs=200,
        batch_size=128,
        optimizer="sgd",
        learning_rate=0.1,
        weight_decay=5e-4,
        schedule="steps",
        milestones=(0.5, 0.75),
        augmentation="crop-flip",
    )
    return changed(ours, **changes)


def fine_tuning(**changes: Unpack[Changes]) -> Recipe:
    """li2024: PACT, 60 epochs from a float checkpoint (Section 4.2); SGD and its settings are ours."""
    ours = pact(epochs=60, learning_rate=0.01, weight_decay=1e-4, penalty=5e-5, schedule="cosine", milestones=())
    return changed(ours, **changes)


def from_scratch(**changes: Unpack[Changes]) -> Recipe:
    """li2024: PACT, 200 epochs from random weights (Section 4.2); the rest is that of PACT's authors."""
    return changed(pact(epochs=200), **changes)


def adversarial(**changes: Unpack[Changes]) -> Recipe:
    """li2024: PACT on PGD-7 images at 8/255 made through its quantizers, 60 epochs from a checkpoint (Section 4.2)."""
    return changed(fine_tuning(objective=pgd()), **changes)


def matching(**changes: Unpack[Changes]) -> Recipe:
    """li2024: PACT that matches a robust teacher's features on clean images, 60 epochs (Sections 4.1 and 4.2)."""
    return changed(fine_tuning(objective=Matching()), **changes)
