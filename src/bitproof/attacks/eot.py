"""Expectation over transformation: an attack on a model whose answers are random.

Source: Athalye et al. 2018 (arXiv 1707.07397); as the adaptive attack on randomised defences, Athalye,
Carlini & Wagner 2018 (1802.00420), Section 4.2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bitproof.attacks.base import Attack, Classes, Images, same_as
from bitproof.attacks.checks import check_counts
from bitproof.core.calling import Model, logits_of
from bitproof.core.rng import Rng


@dataclass(frozen=True, kw_only=True)
class EOT(Attack):
    """Attacks the mean of several answers of the model instead of one answer.

    Attributes:
        attack: its gradients and answers are averages over `draws` passes.
        draws: answers that are averaged.

    Example:
        >>> from bitproof.attacks import PGD
        >>> EOT(attack=PGD(), draws=20).label
        'pgd-20 linf 8/255 eot-20'
    """

    attack: Attack
    draws: int = 20

    norm = same_as("attack.norm")
    eps = same_as("attack.eps")
    asks_only = same_as("attack.asks_only")
    takes_targets = same_as("attack.takes_targets")

    def __post_init__(self) -> None:
        check_counts(self, "draws")

    @property
    def averaged(self) -> int:
        return self.draws

    @property
    def label(self) -> str:
        return f"{self.attack.label} eot-{self.draws}"

    @property
    def passes(self) -> int:
        return self.draws * self.attack.passes

    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        self.goal(model, inputs, labels, targets)  # the mean hides the module, and with it the mode that it is in

        def mean(images: Tensor) -> Tensor:
            return torch.stack([logits_of(model, images) for _ in range(self.draws)]).mean(0)

        return self.attack(mean, inputs, labels, targets=targets, rng=rng)
