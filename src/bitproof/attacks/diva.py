"""Images that deceive one model and not another beside it, such as a quantized model and its float original.

    x_{t+1} = clip_[0,1]( x_0 + project_eps( x_t + step * sign grad( p_kept(y | x_t) - c p_model(y | x_t) ) - x_0 ) )

until the model is wrong and the one beside it right. Nobody who watches the float model alone sees such an image.

Source: Hao et al. 2022, DIVA (MLSys 2022, arXiv 2204.10933, Section 4); settings from its public code (c = 1, 20 steps
of 1/255 at 8/255 from the image itself).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bitproof.attacks.base import TO_THE_END, Attack, Classes, Images, same_as
from bitproof.attacks.checks import check_positive
from bitproof.attacks.goal import Goal, Loss
from bitproof.attacks.gradient import PGD
from bitproof.core.calling import Model
from bitproof.core.defended import beside, seen_through
from bitproof.core.rng import Rng
from bitproof.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Differential(Attack):
    """Gradient steps to where a model is wrong and the one beside it (`core.defended.Beside`) is right.

    Attributes:
        path: the steps, and the loss of which the kept model's is taken from c times the attacked model's.
        c: what the attacked model counts for.

    Example:
        >>> Differential(path=PGD(steps=10, loss="ce")).label
        'diva-10 linf 8/255 ce'
    """

    path: PGD
    c: float = 1.0

    norm = same_as("path.norm")
    eps = same_as("path.eps")
    takes_targets = False
    beside = True

    def __post_init__(self) -> None:
        check_positive(c=self.c)

    @property
    def label(self) -> str:
        loss = [] if self.path.loss == "probability" else [self.path.loss]
        weight = [] if self.c == 1 else [f"c={self.c:g}"]
        end = TO_THE_END[self.path.stop_at_hit]
        return " ".join([f"diva-{self.path.steps}", self.budget, *weight, *loss, *end])

    @property
    def passes(self) -> int:
        return 2 * self.path.passes + 1

    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        """As `Attack.__call__`.

        Raises:
            InputError: also a model without another one beside it, or one of other classes.
        """
        self.goal(model, inputs, labels, targets)
        if (pair := beside(model)) is None:
            raise InputError(
                f"{self.label} on one model",
                rule="it looks for images that this one gets wrong and another one beside it does not",
                remedy="Pass Beside(model, kept) of bitproof.core.defended, or two models to evaluate",
            )
        return self.path.towards(Apart(labels, seen_through(model, pair.other), self.c), model, inputs, rng)


def DIVA(
    *,
    norm: str = "linf",
    eps: float = 8 / 255,
    steps: int = 20,
    c: float = 1.0,
    loss: str = "probability",
    stop_at_hit: bool = True,
) -> Differential:
    """DIVA: deceives a quantized model and not its float original; steps of eps / 8 (Hao et al. 2022, 2204.10933)."""
    path = PGD(norm=norm, eps=eps, steps=steps, rel_step_size=1 / 8, start="image", loss=loss, stop_at_hit=stop_at_hit)
    return Differential(path=path, c=c)


@dataclass(frozen=True)
class Apart:
    """The model is to leave the labels, and `kept`, which counts its own passes, is to stay there.

    Logits are those of both, side by side.
    """

    labels: Int[Tensor, " n"]
    kept: Model
    c: float

    def __getitem__(self, rows: Tensor | slice | list[int]) -> "Apart":
        return Apart(self.labels[rows], self.kept, self.c)

    def answers(self, model: Model, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """The logits of both models."""
        goal = Goal(self.labels)
        own, other = goal.answers(model, images), goal.answers(self.kept, images)
        if own.shape != other.shape:
            raise InputError(
                f"models of {own.shape[1]} and {other.shape[1]} classes",
                rule="two models that are compared image by image have the same classes",
                remedy="Use a model and its quantized copy",
            )
        return torch.cat([own, other], 1)

    def reached(self, logits: Float[Tensor, "n k"]) -> Bool[Tensor, " n"]:
        """Which images the model alone gets wrong."""
        own, other = logits.chunk(2, 1)
        return (own.argmax(1) != self.labels) & (other.argmax(1) == self.labels)

    def gain(self, logits: Float[Tensor, "n k"], loss: Loss) -> Float[Tensor, " n"]:
        """What to maximise."""
        own, other = logits.chunk(2, 1)
        return self.c * loss(own, self.labels) - loss(other, self.labels)
