"""An attack by somebody who knows of the defence: on the model as it is, and on what the defence has to give away.

Sources: Athalye, Carlini & Wagner 2018 (arXiv 1802.00420); Tramer, Carlini, Brendel & Madry 2020 (2002.08347): a
defence is worth what it keeps under an attack made for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bitproof.attacks.base import Attack, Classes, Images, same_as
from bitproof.attacks.checks import check_counts
from bitproof.core.calling import Model
from bitproof.core.defended import View, defended, examined, seen_through
from bitproof.core.rng import Rng
from bitproof.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Adaptive(Attack):
    """Attacks a defended model as it is, then as its defence looks to one who knows it; other models as they are.

    What counts is what the defence answers and does not take back. Where it may take answers back, an image is sent to
    one wrong class after the other, the likeliest first. Where chance decides the answer, the image that most of the
    possible answers are wrong on is kept.

    Attributes:
        attack: follows either.
        classes: wrong classes that an image is sent to.

    Example:
        >>> from bitproof.attacks import PGD
        >>> Adaptive(attack=PGD()).label
        'pgd-20 linf 8/255 adaptive'
    """

    attack: Attack
    classes: int = 9

    norm = same_as("attack.norm")
    eps = same_as("attack.eps")
    asks_only = same_as("attack.asks_only")
    takes_targets = same_as("attack.takes_targets")

    def __post_init__(self) -> None:
        check_counts(self, "classes")

    @property
    def averaged(self) -> int:
        return self.attack.averaged

    @property
    def undefended(self) -> Attack:
        return self.attack

    @property
    def label(self) -> str:
        return f"{self.attack.label} adaptive"

    @property
    def passes(self) -> int:
        return (self.attack.passes + 1) * (1 + self.classes) + 1

    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        """As `Attack.__call__`.

        Raises:
            InputError: also an attack that cannot be sent to a class, on a defence that takes answers back.
        """
        self.goal(model, inputs, labels, targets)
        best = self.attack(model, inputs, labels, targets=targets, rng=rng)
        module = defended(model)
        if module is None or (view := module.view) is None or not len(inputs):
            return best
        fooled = _fooled(model, best, labels, targets)
        attack = self.attack if view.refuses else self.attack.to_the_end()
        for number, aims in enumerate(self._aims(model, view, inputs, labels, targets)):
            rows = (fooled < 1).nonzero()[:, 0]
            if not len(rows):
                break
            keyed = rng.select(rows.cpu().numpy()).fold("view", number)
            sent = None if aims is None else aims[rows]
            tried = attack(seen_through(model, view.logits), inputs[rows], labels[rows], targets=sent, rng=keyed)
            found = _fooled(model, tried, labels[rows], None if targets is None else targets[rows])
            better = found > fooled[rows]
            best[rows[better]], fooled[rows[better]] = tried[better], found[better]
        return best

    def _aims(
        self, model: Model, view: View, inputs: Images, labels: Classes, targets: Classes | None
    ) -> Iterator[Classes | None]:
        """The classes that each round goes for."""
        if targets is not None or not view.refuses:
            yield targets
            return
        if not self.takes_targets:
            raise InputError(
                f"{type(self.attack).__name__} against a defence that takes answers back",
                rule="such a defence is beaten where it stands by a wrong class, so attacks are sent to one",
                remedy="Use PGD, APGD, FAB, Square, CW, DDN or FMN",
            )
        with torch.no_grad():
            logits = examined(model, inputs).logits.scatter(1, labels[:, None], -torch.inf)
        yield from logits.argsort(dim=1, descending=True, stable=True)[:, :-1].T[: self.classes]


@torch.no_grad()
def _fooled(model: Model, images: Tensor, labels: Tensor, targets: Tensor | None) -> Tensor:
    return examined(model, images).fooled(labels, targets)
