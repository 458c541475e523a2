"""Adversarial patches: a square of the image that may have any colours, made for each image.

    p_{t+1} = clip_[0,1]( p_t + step_t * sign( mean over places a of  grad_p loss(x with p at a) ) )

Sources: Brown et al. 2017 (arXiv 1712.09665), who draw the place anew at every step, so that the patch works
wherever it is put; Karmon et al. 2018 (LaVAN, 1801.02608), who leave it in one place. One patch for all images is
`conditions.universal`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bitproof.attacks.base import TO_THE_END, Attack, Classes, Images
from bitproof.attacks.checks import check_counts, warn_masked
from bitproof.attacks.goal import Goal, input_gradient
from bitproof.attacks.gradient import FALL, FIRST
from bitproof.core import losses
from bitproof.core.balls import check_eps
from bitproof.core.calling import Model
from bitproof.core.places import PLACES, check_fit, placed, places_of
from bitproof.core.rng import Rng
from bitproof.errors import lookup


@dataclass(frozen=True, kw_only=True)
class AdversarialPatch(Attack):
    """A patch on each image, in one place or made for any.

    Attributes:
        side: of the square, in pixels.
        place: "corner", the lower right one, "centre", or "any": the patch is made for all places, and lies in one that
            is drawn afterwards.
        draws: places that the gradient is averaged over at each step, where it may be any.
        steps: gradient steps, from 2 eps to eps / 10.
        eps: how far values under the patch may be from the image's; 1 = any colours.
        stop_at_hit: whether an example is left at its first hit. One made for any place takes all steps.

    Example:
        >>> AdversarialPatch(side=5).label
        'patch-50 5x5 corner'
    """

    norm = "linf"
    side: int = 8
    place: str = PLACES[0]
    draws: int = 4
    steps: int = 50
    eps: float = 1.0
    stop_at_hit: bool = True

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(PLACES), self.place, "place of a patch")
        check_counts(self, "side", "draws", "steps")
        check_eps(self.eps, self.norm)

    @property
    def label(self) -> str:
        name = f"patch-{self.steps} {self.side}x{self.side} {self.place}"
        return " ".join([name, *[self.budget] * (self.eps < 1), *TO_THE_END[self.stop_at_hit]])

    @property
    def passes(self) -> int:
        return 2 * self.steps * self._draws

    @property
    def _draws(self) -> int:
        return self.draws if self.place == "any" else 1

    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        """As `Attack.__call__`.

        Raises:
            InputError: also a patch that is larger than the images.
        """
        goal = self.goal(model, inputs, labels, targets)
        check_fit(self.side, tuple(inputs.shape[2:]))
        patch = rng.fold("start").uniform((inputs.shape[1], self.side, self.side)).to(inputs)
        best, active = inputs.clone(), torch.arange(len(inputs), device=inputs.device)
        for number in range(self.steps):
            keyed = rng.select(active.cpu().numpy()).fold("places", number)
            hit, shown, gradient = self._look(model, inputs[active], patch, goal, keyed)
            if not number:
                warn_masked(gradient, hit)
            if self.stop_at_hit and self.place != "any" and hit.any():
                best[active[hit]] = shown[hit]
                left = ~hit
                active, patch, goal, gradient = active[left], patch[left], goal[left], gradient[left]
                if not len(active):
                    return best
            length = FIRST * self.eps * (1 + (FALL - 1) * number / max(self.steps - 1, 1))
            patch = (patch + length * gradient.sign()).clamp_(0, 1)
        final = places_of(rng.select(active.cpu().numpy()).fold("final"), self.place, self.side, inputs.shape[2:], 1)
        best[active] = self._shown(inputs[active], patch, final)
        return best

    def _look(
        self, model: Model, inputs: Tensor, patch: Tensor, goal: Goal, rng: Rng
    ) -> tuple[Bool[Tensor, " n"], Tensor, Tensor]:
        """Whose goal is reached where the patch lies first, the image with it there, and the gradient by the patch."""
        places = places_of(rng, self.place, self.side, inputs.shape[2:], self._draws)
        patch = patch.detach().requires_grad_()
        shown = self._shown(inputs, patch, places)
        aims = goal.repeat(self._draws)
        logits = aims.answers(model, shown)
        gradient = input_gradient(aims.gain(logits, losses.cross_entropy).sum(), patch)
        return aims.reached(logits)[:: self._draws], shown[:: self._draws].detach(), gradient

    def _shown(self, inputs: Tensor, patch: Tensor, places: Int[Tensor, "m 2"]) -> Float[Tensor, "m c h w"]:
        """Each image with its patch, as often as it has places, side by side."""
        count = len(places) // len(inputs)
        around = inputs.repeat_interleave(count, 0)
        covered = placed(around, patch.repeat_interleave(count, 0), places)
        return covered.clamp(around - self.eps, around + self.eps) if self.eps < 1 else covered
