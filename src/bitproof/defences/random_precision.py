"""Random precision: a model of which chance decides with how many bits it answers (Fu et al. 2021, "Double-Win Quant").

Its public code draws one precision a batch, for the attacker and for the defender, who so meet by chance; nothing there
follows the expectation. Here every image draws its own, by its pixels and a seed, so that an answer does not depend on
the batch. There are few precisions, so who knows them follows the exact expectation over all of them (expectation over
transformation, Athalye et al. 2018, arXiv 1802.00420), and results keep what each would answer: expected, worst and
best accuracy follow from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bitproof.core.defended import Defended, Examined, View
from bitproof.core.rng import Rng
from bitproof.defences.base import Clean, Defence, answers, members, names_of
from bitproof.pictures.pixels import ids
from bitproof.records import POSSIBLE


@dataclass(frozen=True, kw_only=True)
class RandomPrecision(Defence):
    """One of several models, drawn anew for every image (Fu et al. 2021).

    Attributes:
        seed: of the draws.

    Example:
        >>> RandomPrecision().label
        'random-precision'
    """

    joint: ClassVar[bool] = True

    seed: int = 0

    @property
    def label(self) -> str:
        return "random-precision" + f" seed={self.seed}" * (self.seed != 0)

    @property
    def needs_clean(self) -> bool:
        return False

    def __call__(self, *models: nn.Module, clean: Clean = None) -> "Drawn":
        return Drawn(members(self, models, least=2), names_of(models), self.seed).eval()


class Drawn(Defended):
    """Members of which each image draws one."""

    def __init__(self, models: nn.ModuleList, names: Sequence[str], seed: int) -> None:
        super().__init__()
        self.members = models
        self.names = tuple(names)
        self.seed = seed
        self.register_buffer("tuned_on", torch.zeros(0, dtype=torch.int64))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return self._taken(answers(self.members, images), images)

    def drawn(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """Which member each image draws."""
        rng = Rng(self.seed, ids(images), ("precision",))
        return (rng.uniform(()).double() * len(self.members)).long().to(images.device)

    def examine(self, images: Float[Tensor, "n c h w"]) -> Examined:
        said = answers(self.members, images)
        possible = said.argmax(2).T
        return Examined(
            logits=self._taken(said, images),
            possible=possible,
            values={f"{POSSIBLE}{name}": own for name, own in zip(self.names, possible.T, strict=True)},
        )

    def _taken(self, said: Tensor, images: Tensor) -> Tensor:
        return said[self.drawn(images), torch.arange(len(images), device=images.device)]

    def doubts(self, images: Float[Tensor, "n c h w"]) -> list[str]:
        return []

    @property
    def plain(self) -> bool:
        return False

    @property
    def view(self) -> View:
        return View(logits=partial(expected, self))


def expected(drawn: Drawn, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
    """The exact expectation of the logarithm of the probabilities over all members."""
    return answers(drawn.members, images).log_softmax(2).mean(0)
