"""Attacks that follow the gradient: FGSM, R+FGSM, BIM, MI-FGSM and PGD are values of one setting.

    g_t     = momentum * g_{t-1} + grad loss(x_t) / |grad loss(x_t)|_1
    x_{t+1} = clip_[0,1]( x_0 + project_eps( x_t + step_t * steepest(g_t) - x_0 ) )

Sources: FGSM, Goodfellow et al. 2015 (arXiv 1412.6572); R+FGSM, Tramer et al. 2018 (1705.07204); BIM,
Kurakin et al. 2017 (1607.02533); MI-FGSM, Dong et al. 2018 (1710.06081); PGD, Madry et al. 2018 (1706.06083).

Madry et al. take steps of one length, 2.5 eps / steps: `MadryPGD`. They are too short for quantized models, so those of
the default start at 2 eps and fall. It was chosen on other networks, images and budgets than those that it was compared
on afterwards (`benchmarks/step_schedule.py`).
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from bitproof.attacks.base import TO_THE_END, Attack, Classes, Images
from bitproof.attacks.checks import warn_masked
from bitproof.attacks.goal import Aim, input_gradient
from bitproof.core import losses
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.calling import Model
from bitproof.core.rng import Rng
from bitproof.errors import InputError, lookup

LOSSES = {"ce": losses.cross_entropy, "margin": losses.margin, "dlr": losses.dlr, "probability": losses.doubt}
STARTS = ("image", "uniform", "halfway")
FIRST, FALL = 2.0, 0.05
"""The first step in eps, and what is left of it at the last one, where a setting names neither."""


@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """Projected gradient ascent inside an lp ball.

    An example that breaks at the t-th forward costs at most t forwards and t backwards, one that never breaks `steps`
    of each, and one forward more for each restart but the last.

    Attributes:
        norm: the ball, "linf", "l2" or "l1".
        eps: its radius, in [0, 1] pixel units.
        steps: gradient steps.
        step_size: length of the first step, in the norm.
        rel_step_size: the same in eps, so that it fits every budget. Where neither is named it is 2 eps.
        end_factor: what is left of it at the last step; steps fall in line between the two, and 1 keeps their length.
            None = 1 where the first step is named, else 0.05.
        start: where to begin: the "image"; a "uniform" draw from the ball; or "halfway", the image moved by
            eps / 2 in a random direction (under linf by random signs).
        restarts: how many starts to try, for examples not broken yet.
        momentum: what a step keeps of the gradients before it.
        loss: what is maximised, "ce", "margin", "dlr", or "probability", which is 1 less that of the label.
        stop_at_hit: whether an example is left at its first hit, with the image that hit. False takes all steps and
            gives the last image, which lies deeper in the wrong class and so deceives other models more often.

    Example:
        >>> PGD(norm="linf", eps=8 / 255, steps=20).label
        'pgd-20 linf 8/255'
    """

    norm: str = "linf"
    eps: float = 8 / 255
    steps: int = 20
    step_size: float | None = None
    rel_step_size: float | None = None
    end_factor: float | None = None
    start: str = "uniform"
    restarts: int = 1
    momentum: float = 0.0
    loss: str = "ce"
    stop_at_hit: bool = True

    def __post_init__(self) -> None:
        lookup(BALLS, self.norm, "norm")
        lookup(LOSSES, self.loss, "loss")
        lookup(dict.fromkeys(STARTS), self.start, "start")
        check_eps(self.eps, self.norm)
        if self.steps < 1:
            raise InputError(f"steps is {self.steps}", rule="an attack takes at least one step", remedy="Use 1 or more")
        if self.restarts < 1 or (self.restarts > 1 and self.start == "image"):
            raise InputError(
                f"restarts is {self.restarts}, from the {self.start!r} start",
                rule="there is at least one start, and only random ones differ",
                remedy="Use restarts=1 or start='uniform'",
            )
        if not 0 <= self.momentum < float("inf"):
            raise InputError(f"momentum is {self.momentum}", rule="it is at least 0", remedy="Use 0 or 1")
        self._check_lengths()

    def _check_lengths(self) -> None:
        for name in ("step_size", "rel_step_size", "end_factor"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(
                    f"{name} is {value}",
                    rule="a step has a positive length",
                    remedy="Leave it out for steps from 2 eps to eps / 10",
                )
        if self.step_size is not None and self.rel_step_size is not None:
            raise InputError(
                "step_size and rel_step_size are both given",
                rule="each says how long the first step is, in the norm or in eps",
                remedy="Leave one of them out",
            )
        if self.steps == 1 and self.end_factor is not None:
            raise InputError(
                f"end_factor is {self.end_factor} for a single step",
                rule="it says how long the last of several steps is",
                remedy="Leave it out, or take more steps",
            )

    @property
    def label(self) -> str:
        if self.steps == 1:
            name = {"image": "fgsm", "halfway": "r+fgsm"}.get(self.start, "pgd-1")
        else:
            name = f"{'mi-fgsm' if self.momentum else 'bim' if self.start == 'image' else 'pgd'}-{self.steps}"
        name += f"x{self.restarts}" * (self.restarts > 1)
        steps = [] if "fgsm" in name or "bim" in name else self._lengths_as_text
        return " ".join([name, self.budget, *steps, *[self.loss] * (self.loss != "ce"), *TO_THE_END[self.stop_at_hit]])

    @property
    def _lengths_as_text(self) -> list[str]:
        """What is named of the steps, e.g. "step=0.125eps"."""
        first = [f"step={BALLS[self.norm].text(self.step_size)}"] if self.step_size else []
        first += [f"step={self.rel_step_size:.4g}eps"] if self.rel_step_size else []
        return first + ([f"end={self.end_factor:.4g}"] if self.end_factor else [])

    @property
    def lengths(self) -> list[float]:
        """Of the steps in their order, in the norm."""
        named = self.step_size or self.eps * (self.rel_step_size or 0)
        first, fall = named or FIRST * self.eps, self.end_factor or (1.0 if named else FALL)
        return [first * (1 + (fall - 1) * step / max(self.steps - 1, 1)) for step in range(self.steps)]

    @property
    def passes(self) -> int:
        return self.restarts * (2 * self.steps + 1) - 1

    def __call__(
        self, model: Model, inputs: Images, labels: Classes, *, targets: Classes | None = None, rng: Rng
    ) -> Images:
        return self.towards(self.goal(model, inputs, labels, targets), model, inputs, rng)

    def towards(self, goal: Aim, model: Model, inputs: Images, rng: Rng) -> Images:
        """The same steps towards a goal of another kind, which the caller has checked."""
        best = inputs.clone()
        active = torch.arange(len(inputs), device=inputs.device)
        for restart in range(self.restarts):
            start = inputs[active]
            noise = self._noise(rng.select(active.cpu().numpy()).fold("start", restart), start)
            best[active], hit = self._ascend(model, start, (start + noise).clamp_(0, 1), goal[active])
            if restart + 1 < self.restarts:
                active = active[~hit]
                with torch.no_grad():
                    active = active[~goal[active].reached(goal[active].answers(model, best[active]))]
                if not len(active):
                    break
        return best

    def _noise(self, rng: Rng, inputs: Tensor) -> Tensor:
        ball, shape = BALLS[self.norm], tuple(inputs.shape[1:])
        if self.start == "image":
            return torch.zeros_like(inputs)
        if self.start == "uniform":
            return ball.sample(rng, shape, self.eps).to(inputs)
        return ball.steepest(rng.normal(shape).to(inputs)) * (self.eps / 2)

    def _ascend(self, model: Model, origin: Tensor, x: Tensor, goal: Aim) -> tuple[Tensor, Bool[Tensor, " n"]]:
        """The first image that hits, or else the last one, and which are known to hit."""
        ball = BALLS[self.norm]
        best = origin.clone()
        broken = torch.zeros(len(origin), dtype=torch.bool, device=origin.device)
        active = torch.arange(len(origin), device=origin.device)
        velocity = torch.zeros_like(origin)
        for number, step in enumerate(self.lengths):
            x = x.detach().requires_grad_()
            logits = goal.answers(model, x)
            hit = goal.reached(logits) & self.stop_at_hit
            left = ~hit
            if hit.any():
                best[active[hit]] = x[hit].detach()
                broken[active[hit]] = True
                active, origin, velocity = active[left], origin[left], velocity[left]
                if not len(active):
                    return best, broken
                goal, logits = goal[left], logits[left]
            # Summed over examples, so that one example's gradient does not depend on the others.
            gradient = input_gradient(goal.gain(logits, LOSSES[self.loss]).sum(), x)
            with torch.no_grad():
                if hit.any():
                    x, gradient = x[left], gradient[left]
                if not number:
                    warn_masked(gradient, goal.reached(logits))
                if self.momentum:
                    size = gradient.abs().flatten(1).sum(1).clamp_(min=torch.finfo(x.dtype).tiny)
                    gradient = velocity = self.momentum * velocity + gradient / size.view(-1, 1, 1, 1)
                stuck = ((x <= 0) & (gradient < 0)) | ((x >= 1) & (gradient > 0))
                direction = ball.steepest(gradient.masked_fill(stuck, 0))
                x = (origin + ball.project(x + step * direction - origin, self.eps)).clamp_(0, 1)
        best[active] = x
        return best, broken


def FGSM(*, norm: str = "linf", eps: float = 8 / 255, stop_at_hit: bool = True) -> PGD:
    """Fast gradient (sign) method: one step of length eps from the image itself."""
    return PGD(norm=norm, eps=eps, steps=1, start="image", stop_at_hit=stop_at_hit)


def RFGSM(*, norm: str = "linf", eps: float = 8 / 255, stop_at_hit: bool = True) -> PGD:
    """R+FGSM: eps / 2 in a random direction, then a gradient step of eps / 2 (Lin et al. 2019, Section 2.2.1).

    The gradient is that where the random direction led, as in Tramer et al. 2018; lin2019 prints it at the image.
    """
    return PGD(norm=norm, eps=eps, steps=1, rel_step_size=0.5, start="halfway", stop_at_hit=stop_at_hit)


def MadryPGD(*, norm: str = "linf", eps: float = 8 / 255, steps: int = 20, stop_at_hit: bool = True) -> PGD:
    """PGD with steps of 2.5 eps / steps (Madry et al. 2018, Section 5): what most libraries and papers mean by it."""
    return PGD(norm=norm, eps=eps, steps=steps, rel_step_size=2.5 / steps, stop_at_hit=stop_at_hit)


def BIM(*, norm: str = "linf", eps: float = 0.03, steps: int = 100, stop_at_hit: bool = True) -> PGD:
    """Basic iterative method: steps of eps / steps from the image (defaults: Bernhard et al. 2019, Table 12)."""
    return PGD(norm=norm, eps=eps, steps=steps, rel_step_size=1 / steps, start="image", stop_at_hit=stop_at_hit)


def MIFGSM(
    *, norm: str = "linf", eps: float = 16 / 255, steps: int = 10, momentum: float = 1.0, stop_at_hit: bool = True
) -> PGD:
    """Momentum iterative FGSM: BIM along accumulated gradients (defaults: Dong et al. 2018, Section 4.1)."""
    return replace(BIM(norm=norm, eps=eps, steps=steps, stop_at_hit=stop_at_hit), momentum=momentum)


def UnitStepPGD(*, eps: float = 8 / 255, stop_at_hit: bool = True) -> PGD:
    """PGD by single grey levels, floor(min(eps + 4, 1.25 eps)) of them (Lin et al. 2019, Section 2.2.1)."""
    level = round(255 * eps, 6)  # 8 / 255 * 255 need not be 8
    steps = max(1, math.floor(min(level + 4, 1.25 * level)))
    return PGD(eps=eps, steps=steps, step_size=1 / 255, start="halfway", stop_at_hit=stop_at_hit)
