"""Attacks that follow the gradient: FGSM, R+FGSM, BIM and PGD are values of one setting.

    x_{t+1} = clip_[0,1]( x_0 + project_eps( x_t + step * steepest(grad loss(x_t)) - x_0 ) )

Sources: FGSM, Goodfellow et al. 2015 (arXiv 1412.6572); BIM, Kurakin et al. 2017 (1607.02533);
PGD, Madry et al. 2018 (1706.06083), whose step of 2.5 eps / steps is the default here.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bitproof.attacks.base import Attack, Model, format_eps
from bitproof.core import losses
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.rng import Rng
from bitproof.errors import InputError, lookup

LOSSES = {"ce": losses.cross_entropy, "margin": losses.margin, "dlr": losses.dlr}


@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """Projected gradient ascent inside an lp ball.

    An example leaves the batch at its first hit, with the image that hit. So an example that breaks at
    the t-th forward costs at most t forwards and t backwards, one that never breaks `steps` of each.

    Attributes:
        norm: the ball, "linf", "l2" or "l1".
        eps: its radius, in [0, 1] pixel units.
        steps: gradient steps.
        step_size: length of a step in the norm; None = 2.5 eps / steps, and eps for a single step.
        random_start: begin at a uniform draw from the ball instead of the image.
        loss: what is maximised, "ce", "margin" or "dlr".

    Example:
        >>> PGD(norm="linf", eps=8 / 255, steps=20).label
        'pgd-20 linf 8/255'
    """

    norm: str = "linf"
    eps: float = 8 / 255
    steps: int = 20
    step_size: float | None = None
    random_start: bool = True
    loss: str = "ce"

    def __post_init__(self) -> None:
        lookup(BALLS, self.norm, "norm")
        lookup(LOSSES, self.loss, "loss")
        check_eps(self.eps, self.norm)
        if self.steps < 1:
            raise InputError(f"steps is {self.steps}", rule="an attack takes at least one step", remedy="Use 1 or more")
        if self.step_size is not None and not 0 < self.step_size < float("inf"):
            raise InputError(
                f"step_size is {self.step_size}",
                rule="a step has a positive length",
                remedy="Leave it out for 2.5 eps / steps",
            )

    @property
    def label(self) -> str:
        name = "fgsm" if self == FGSM(norm=self.norm, eps=self.eps) else f"pgd-{self.steps}"
        return " ".join([name, self.norm, format_eps(self.eps, self.norm), *([self.loss] * (self.loss != "ce"))])

    @property
    def passes(self) -> int:
        return 2 * self.steps

    def __call__(
        self,
        model: Model,
        inputs: Float[Tensor, "n c h w"],
        labels: Int[Tensor, " n"],
        *,
        targets: Int[Tensor, " n"] | None = None,
        rng: Rng,
    ) -> Float[Tensor, "n c h w"]:
        check_eps(self.eps, self.norm, inputs[0].numel())
        ball = BALLS[self.norm]
        step = self.step_size or (self.eps if self.steps == 1 else 2.5 * self.eps / self.steps)
        goal = labels if targets is None else targets
        best = inputs.clone()
        active = torch.arange(len(inputs), device=inputs.device)
        x, start = inputs, inputs
        if self.random_start:
            noise = ball.sample(rng.fold("start"), tuple(inputs.shape[1:]), self.eps)
            x = (inputs + noise.to(inputs)).clamp(0, 1)
        for _ in range(self.steps):
            x = x.detach().requires_grad_()
            logits = model(x)
            hit = (logits.argmax(1) == goal) == (targets is not None)
            if hit.any():
                best[active[hit]] = x[hit].detach()
                left = ~hit
                active, start, goal = active[left], start[left], goal[left]
                if not len(active):
                    return best
            else:
                left = None
            (gradient,) = torch.autograd.grad(self._gain(logits, goal, left, targets is not None), x)
            with torch.no_grad():
                if left is not None:
                    x, gradient = x[left], gradient[left]
                stuck = ((x <= 0) & (gradient < 0)) | ((x >= 1) & (gradient > 0))
                direction = ball.steepest(gradient.masked_fill_(stuck, 0))
                x = (start + ball.project(x + step * direction - start, self.eps)).clamp_(0, 1)
        best[active] = x
        return best

    def _gain(self, logits: Tensor, goal: Tensor, rows: Tensor | None, targeted: bool) -> Tensor:
        """The sum over examples (so that one example's gradient does not depend on the others) of the loss."""
        if rows is not None:
            logits = logits[rows]
        loss = LOSSES[self.loss](logits, goal).sum()
        return -loss if targeted else loss


def FGSM(*, norm: str = "linf", eps: float = 8 / 255) -> PGD:
    """Fast gradient (sign) method: one step of length eps from the image itself."""
    return PGD(norm=norm, eps=eps, steps=1, random_start=False)
