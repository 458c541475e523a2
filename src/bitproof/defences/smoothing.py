"""Randomised smoothing: the class that a model gives most often under Gaussian noise, with a radius in which it is
certain (Cohen, Rosenfeld & Kolter 2019, arXiv 1902.02918).

The model inside may be anything that answers alike each time: float, quantized, or a session on integers, which no
attack along gradients reaches. Noise is added in pixels, before the model's normalisation, and not clipped. With
`levels`, noisy images are rounded to whole grey levels, as cameras and integer models have them. Rounding is then a
part of the model that is smoothed, so the radius holds as it is, and no floating-point remainder of the image is left
in its noise, which can make certificates of floating-point noise wrong (Voracek & Hein 2023). Lin et al. 2021
(2108.09413) draw such noise on the grid itself.

Draws follow from an image's pixels and the seed: models are shown the same noise, which `incremental` makes use of. An
attacker follows the mean over a few draws (Salman et al. 2019, 1906.04584).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from bitproof.core.defended import Defended, Examined
from bitproof.core.rng import Rng
from bitproof.core.ste import round_ste
from bitproof.defences.base import Clean, Defence, answers, members
from bitproof.defences.certificate import fewest, lower_bound, radius, undecided
from bitproof.errors import InputError
from bitproof.pictures.pixels import ids
from bitproof.records import RADIUS

AT_ONCE = 512
"""Noisy images a pass."""

LEAST = 8
"""Images from which on their number says something of the model."""


@dataclass(frozen=True, kw_only=True)
class Smoothing(Defence):
    """The most frequent answer under Gaussian noise, with its certified radius (Cohen et al. 2019, arXiv 1902.02918).

    Attributes:
        sigma: standard deviation of the noise in [0, 1] pixel units. The model has to be trained on such noise.
        draws: noisy copies of an image that are counted. All of 1,000 certify 2.46 sigma at most, of 10,000 3.20, of
            the paper's 100,000 3.81.
        first: others that the class is chosen by.
        alpha: how often a certificate may be wrong.
        levels: grey levels above black that noisy images are rounded to, 255 for 8 bits; None = not rounded.
        followed: draws whose mean attacks follow.
        seed: of the noise.

    Example:
        >>> Smoothing(sigma=0.25).label
        'smoothing 0.25'
    """

    sigma: float = 0.25
    draws: int = 1000
    first: int = 100
    alpha: float = 0.001
    levels: int | None = None
    followed: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.sigma < float("inf") or not 0 < self.alpha < 0.5:
            raise InputError(
                f"sigma is {self.sigma} and alpha {self.alpha}",
                rule="noise has a positive standard deviation, and a certificate is wrong with a small probability",
                remedy="Use sigma=0.25, alpha=0.001",
            )
        if min(self.draws, self.first, self.followed, 1 if self.levels is None else self.levels) < 1:
            raise InputError(
                f"draws={self.draws}, first={self.first}, followed={self.followed}, levels={self.levels}",
                rule="each counts something, at least one",
                remedy="Leave them out",
            )
        if self.draws < (least := fewest(self.alpha)):
            raise InputError(
                f"draws={self.draws} with alpha={self.alpha:g}",
                rule="so few could not decide on an answer though all were alike, and every one would be taken back",
                remedy=f"Use {least} or more",
            )

    @property
    def label(self) -> str:
        return f"smoothing {self.sigma:g}" + (f" {self.levels} levels" if self.levels else "")

    @property
    def needs_clean(self) -> bool:
        return False

    def __call__(self, *models: nn.Module, clean: Clean = None) -> "Smoothed":
        return Smoothed(members(self, models), self).eval()


class Smoothed(Defended):
    """A model that is asked many times. Results have the answer of PREDICT, taken back where it is undecided, and the
    radius of CERTIFY.

    Called, it gives the mean logarithm of the probabilities over a few draws, which has a gradient; `examine` counts.
    """

    def __init__(self, models: nn.ModuleList, how: Smoothing) -> None:
        super().__init__()
        self.members = models
        self.how = how
        self.register_buffer("tuned_on", torch.zeros(0, dtype=torch.int64))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        keyed = Rng(self.how.seed, ids(images), ("followed",))
        noise = keyed.normal((self.how.followed, *images.shape[1:])).to(images)
        logits = answers(self.members, self._seen(images[:, None], noise).flatten(0, 1))[0]
        return logits.log_softmax(1).unflatten(0, (-1, self.how.followed)).mean(1)

    def examine(self, images: Float[Tensor, "n c h w"]) -> Examined:
        chosen, counts = self.counts(images, "first", self.how.first), self.counts(images, "counted", self.how.draws)
        leading = np.take_along_axis(counts, chosen.argmax(1)[:, None], 1)[:, 0]
        radii = radius(lower_bound(leading, self.how.draws, self.how.alpha), self.how.sigma)
        shares = (torch.from_numpy(counts) + 1 / counts.shape[1]) / (self.how.draws + 1)
        return Examined(
            logits=shares.log().to(images),
            refused=torch.from_numpy(undecided(counts, self.how.alpha)).to(images.device),
            values={RADIUS: torch.from_numpy(radii).float().to(images.device)},
        )

    @property
    def plain(self) -> bool:
        return False

    @property
    def view(self) -> None:
        return None

    def doubts(self, images: Float[Tensor, "n c h w"]) -> list[str]:
        return self.doubted(images, self.counts(images, "first", self.how.first).argmax(1))

    @torch.no_grad()
    def doubted(self, images: Float[Tensor, "n c h w"], chosen: Int64[np.ndarray, " n"]) -> list[str]:
        """`doubts` where the answers under noise are known already."""
        plain = answers(self.members, images)[0].argmax(1).cpu().numpy()
        changed = int((chosen != plain).sum())
        if len(images) < LEAST or changed <= len(images) / 2:
            return []
        return [
            f"noise of {self.how.sigma:g} changes the answer to {changed} of {len(images)} images: the model seems not "
            "to have been trained on such noise, and its radii are those of a guess"
        ]

    def counts(self, images: Float[Tensor, "n c h w"], purpose: str, draws: int) -> Int64[np.ndarray, "n k"]:
        """How often each class is answered under so many draws of noise."""
        votes, classes = self.votes(images, purpose, draws)
        return np.stack([np.bincount(row, minlength=classes) for row in votes])

    @torch.no_grad()
    def votes(
        self, images: Float[Tensor, "n c h w"], purpose: str, draws: int
    ) -> tuple[Int64[np.ndarray, "n draws"], int]:
        """The answer under each draw of noise, and the number of classes. The same image, purpose and seed have the
        same noise in every model."""
        keyed, votes, classes = Rng(self.how.seed, ids(images), ("noise", purpose)), [], 0
        for i, image in enumerate(images):
            for part, start in enumerate(range(0, draws, AT_ONCE)):
                count = min(AT_ONCE, draws - start)
                noise = keyed.select([i]).fold(part).normal((count, *image.shape))[0]
                logits = answers(self.members, self._seen(image, noise.to(images)))[0]
                votes.append(logits.argmax(1).cpu())
                classes = logits.shape[1]
        return torch.cat(votes).view(len(images), draws).numpy(), classes

    def _seen(self, images: Tensor, noise: Tensor) -> Tensor:
        """What the model inside gets of images and standard normal noise."""
        if self.how.levels is None:
            return images + self.how.sigma * noise
        noisy = (images.double() + self.how.sigma * noise.double()) * self.how.levels
        return (round_ste(noisy) / self.how.levels).to(images.dtype)
