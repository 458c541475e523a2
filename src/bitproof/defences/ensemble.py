"""An ensemble of bit-widths that answers only where enough of its members agree (Bernhard et al. 2019, 1909.12741).

    valid_m = {x : max_j |{i : M_i(x) = j}| >= m}          (Eq. 11)

The rate of answers PR is the share of valid images (Eq. 12), the defence accuracy the share of adversarial ones that
are not valid with a wrong class (Eq. 13). The paper attacks one member and hands its images on. Who knows the ensemble
attacks the mean of its members, as Tramer et al. 2020 (2002.08347) do EMPIR (Sen et al. 2020, 2004.10162), or
brings m of them to the same wrong class (`defences.agreement`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bitproof.core.defended import Defended, Examined, View
from bitproof.core.ste import straight_through
from bitproof.core.voting import majorities, votes
from bitproof.defences.agreement import scaled, shortfall, with_refusal
from bitproof.defences.base import Clean, Defence, answers, clean_images, in_batches, members, names_of
from bitproof.errors import InputError
from bitproof.pictures.pixels import ids

VOTE = "vote: "
"""How the names begin under which results keep the members' answers."""


@dataclass(frozen=True, kw_only=True)
class Ensemble(Defence):
    """Several models that vote, and no answer where fewer than m agree (Bernhard et al. 2019).

    Attributes:
        agreeing: m, more than half of the members; None = the most with which at least `rate` of the clean images are
            answered. The paper's 4 and 5 of 5 answer 87%.
        rate: see there.

    Example:
        >>> Ensemble(agreeing=4).label
        'ensemble m=4'
    """

    joint: ClassVar[bool] = True

    agreeing: int | None = None
    rate: float = 0.85

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise InputError(f"rate is {self.rate}", rule="it is a share of the images", remedy="Use 0.85")

    @property
    def label(self) -> str:
        return "ensemble" + (f" rate={self.rate:g}" if self.agreeing is None else f" m={self.agreeing}")

    @property
    def needs_clean(self) -> bool:
        return self.agreeing is None

    def __call__(self, *models: nn.Module, clean: Clean = None) -> "Voting":
        voting = Voting(members(self, models, least=2), names_of(models), self.agreeing or len(models))
        allowed = majorities(len(models))
        if self.agreeing is None:
            images = clean_images(self, clean)
            agreement = in_batches(voting, "agreement", images)
            rates = {m: float((agreement >= m).float().mean()) for m in allowed}
            voting.agreeing = max(m for m, rate in rates.items() if rate >= self.rate or m == allowed[0])
            voting.tuned_on = torch.from_numpy(ids(images))
        elif self.agreeing not in allowed:
            raise InputError(
                f"{self.agreeing} of {len(models)} members have to agree",
                rule=f"more than half do, so that no two classes have so many: {allowed[0]} to {allowed[-1]}",
                remedy="Leave agreeing out to choose it on clean images",
            )
        return voting.eval()


class Voting(Defended):
    """Members that vote. The answer is the class with most votes; of several, the one that they find likelier.

    Its logits are the logarithms of (votes + mean probability) / (members + 1). Gradients are those of the mean of the
    members' logits, each in units of its spread.
    """

    def __init__(self, models: nn.ModuleList, names: Sequence[str], agreeing: int) -> None:
        super().__init__()
        self.members = models
        self.names = tuple(names)
        self.agreeing = agreeing
        self.register_buffer("tuned_on", torch.zeros(0, dtype=torch.int64))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        said = answers(self.members, images)
        return straight_through(scaled(said).mean(0), _shares(said).clamp(min=1e-12).log())

    def agreement(self, images: Float[Tensor, "n c h w"]) -> Int[Tensor, " n"]:
        """How many members give the answer."""
        return _votes(answers(self.members, images)).amax(1)

    def examine(self, images: Float[Tensor, "n c h w"]) -> Examined:
        said = answers(self.members, images)
        agreement = _votes(said).amax(1)
        given = {f"{VOTE}{name}": own.argmax(1) for name, own in zip(self.names, said, strict=True)}
        return Examined(
            logits=_shares(said).clamp(min=1e-12).log(),
            refused=agreement < self.agreeing,
            values={"agreement": agreement, **given},
        )

    def doubts(self, images: Float[Tensor, "n c h w"]) -> list[str]:
        return []

    @property
    def plain(self) -> bool:
        return False

    @property
    def view(self) -> View:
        return View(logits=partial(_agreed, self), refuses=True)


def _agreed(voting: Voting, images: Tensor) -> Tensor:
    return with_refusal(shortfall(answers(voting.members, images), voting.agreeing))


def _votes(said: Float[Tensor, "m n k"]) -> Int[Tensor, "n k"]:
    return votes(said.argmax(2), said.shape[2])


def _shares(said: Float[Tensor, "m n k"]) -> Float[Tensor, "n k"]:
    """Shares of the votes, with one vote more that is split by the mean probability."""
    return (_votes(said) + said.softmax(2).mean(0)) / (len(said) + 1)
