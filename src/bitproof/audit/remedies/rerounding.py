"""Other roundings of the same weights, found by a small search: no gradient, a few seconds.

Roundings that somebody prepared lie close to the boundary between two levels, or are nearest only by a little; clean
images do not show which. So of several strengths the strongest is taken that keeps the float model's predictions about
as well as the best one does, and of several draws the nearest to the float model.
"""

import abc
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bitproof.audit.remedies.base import Remedy, around, distance, kept, logits, rounded
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.quant import freeze

TOLERANCE = 0.05
"""How many predictions fewer than the best strength a stronger one may keep."""


@dataclass(frozen=True, kw_only=True)
class Rerounded(Remedy):
    """Each weight is moved between the levels around it, and rounded to the nearer one from there.

    Attributes:
        strengths: what is tried; how far weights are moved.
        draws: tries a strength.
    """

    strengths: tuple[float, ...]
    draws: int = 1

    def __post_init__(self) -> None:
        if not self.strengths or min(self.strengths) <= 0 or max(self.strengths) > 1 or self.draws < 1:
            raise InputError(
                f"{self.draws} draws of the strengths {self.strengths}",
                rule="there is at least one of each, and strengths lie above 0 and up to 1",
                remedy="Use for example strengths=0.25+0.5+1",
            )

    @abc.abstractmethod
    def up(self, share: Float[Tensor, "out ..."], strength: float, rng: Rng) -> Bool[Tensor, "out ..."]:
        """Which weights go to the further level; `share` is how far on the way there each one lies, in [0, 1]."""

    def __call__(
        self, quantized: nn.Module, model: nn.Module, images: Float[Tensor, "n c h w"], *, rng: Rng
    ) -> nn.Module:
        shares = {name: share for name, (_, _, share) in around(quantized).items()}
        wanted = logits(freeze(model), images)
        best: list[tuple[float, nn.Module]] = []  # how many predictions are kept, a model a strength
        for number, strength in enumerate(sorted(self.strengths)):
            drawn = []
            for draw in range(self.draws):
                here = rng.fold("rerounded", number, draw)
                up = {name: self.up(share, strength, here.fold(name)) for name, share in shares.items()}
                made = rounded(quantized, up)
                found = logits(freeze(made), images)
                drawn.append((distance(found, wanted), kept(found, wanted), made))
            _, same, made = min(drawn, key=lambda entry: entry[0])
            best.append((same, made))
        least = max(same for same, _ in best) - TOLERANCE
        return next(made for same, made in reversed(best) if same >= least)


@dataclass(frozen=True, kw_only=True)
class Counteracted(Rerounded):
    """W - strength (Q(W) - W) is rounded in place of W, which turns over the weights next to a boundary first.

    What rounding does to the weights is taken for a task that they learned, and is taken back (QVec, arXiv 2606.20254).
    """

    strengths: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)

    @property
    def label(self) -> str:
        return "task vector counteracted"

    def up(self, share: Float[Tensor, "out ..."], strength: float, rng: Rng) -> Bool[Tensor, "out ..."]:
        nearest = (share > 0.5).to(share)
        return share - strength * (nearest - share) > 0.5


@dataclass(frozen=True, kw_only=True)
class Dithered(Rerounded):
    """W + strength step (U - 1/2) is rounded in place of W, U uniform; of full strength it is stochastic rounding."""

    strengths: tuple[float, ...] = (0.5, 1.0)
    draws: int = 6

    @property
    def label(self) -> str:
        return f"best of {self.draws} dithered roundings"

    def up(self, share: Float[Tensor, "out ..."], strength: float, rng: Rng) -> Bool[Tensor, "out ..."]:
        uniform = rng.uniform(tuple(share.shape))[0].to(share.device)
        moved = share + strength * (uniform - 0.5)
        return torch.where((share > 0) & (share < 1), moved > 0.5, share > 0.5)
