"""Auto-PGD: projected gradient ascent that sets its own step sizes.

The step is halved, and the search sent back to its best point, where the loss has stopped rising.

Sources: Croce & Hein 2020 (arXiv 2003.01690), with the CE and DLR losses and APGD-T, which aims at the likeliest
wrong classes in turn; for l1 Croce & Hein 2021 (arXiv 2103.01208).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bitproof.attacks.apgd_rules import Halving, Rule, Sparsity
from bitproof.attacks.base import TO_THE_END, Attack
from bitproof.attacks.checks import check_counts, check_rate, warn_masked
from bitproof.attacks.goal import Goal
from bitproof.attacks.pool import Asked, Found, call_pooled, goals, safe_radius
from bitproof.core import losses
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.rng import Rng
from bitproof.errors import lookup


def _log_odds(logits: Tensor, goal: Goal) -> Tensor:
    return goal.gain(logits, losses.log_odds)


def _dlr(logits: Tensor, goal: Goal) -> Tensor:
    if goal.aims is None:
        return losses.dlr(logits, goal.labels)
    return losses.targeted_dlr(logits, goal.labels, goal.aims)


def _margin(logits: Tensor, goal: Goal) -> Tensor:
    return goal.gain(logits, losses.margin)


LOSSES = {"ce": _log_odds, "dlr": _dlr, "margin": _margin}


@dataclass(frozen=True, kw_only=True)
class APGD(Attack):
    """Auto-PGD: projected gradient ascent whose steps shrink where it stalls.

    A run costs an example at most `steps` + 1 forwards and `steps` backwards (l1: 2 forwards more).

    The cross-entropy is climbed as its
    log-odds, which give the same steps but do not vanish where the model is confident.

    Attributes:
        norm: the ball, "linf", "l2" or "l1".
        eps: its radius, in [0, 1] pixel units.
        steps: gradient steps a run.
        loss: what is maximised, "ce", "dlr", or the "margin" that the latter scales.
        classes: how many of the likeliest wrong classes are aimed at, a run each; 0 = none in particular.
        restarts: runs (for each class), from different random points.
        draws: answers of the model that are averaged at every point, for models that answer at random.
        rho: share of the steps that have to raise the loss, else the step is halved (linf, l2).
        stop_at_hit: whether an example is left at its first hit, with the image that hit. False takes the run that hits
            to its end, and gives its last hit, as the authors' code does.

    Example:
        >>> APGD(norm="l2", eps=0.5, loss="dlr", classes=9).label
        'apgd-100 l2 0.5 dlr 9 classes'
    """

    pooled = True
    norm: str = "linf"
    eps: float = 8 / 255
    steps: int = 100
    loss: str = "ce"
    classes: int = 0
    restarts: int = 1
    draws: int = 1
    rho: float = 0.75
    stop_at_hit: bool = True

    def __post_init__(self) -> None:
        lookup(BALLS, self.norm, "norm")
        lookup(LOSSES, self.loss, "loss")
        check_eps(self.eps, self.norm)
        check_counts(self, "steps", "restarts", "draws")
        check_counts(self, "classes", least=0)
        check_rate(rho=self.rho)

    @property
    def label(self) -> str:
        extra = [
            self.loss,
            *[f"{self.classes} classes"] * bool(self.classes),
            *[f"eot {self.draws}"] * (self.draws > 1),
        ]
        return " ".join([f"apgd-{self.steps}", self.budget, *extra, *TO_THE_END[self.stop_at_hit]])

    @property
    def passes(self) -> int:
        run = 2 * self.steps + len(self._rule.phases(self.steps))
        return self.draws * (run * self.restarts * max(self.classes, 1) + bool(self.classes))

    @property
    def averaged(self) -> int:
        return self.draws

    __call__ = call_pooled

    def search(self, asked: Asked, inputs: Float[Tensor, "n c h w"], goal: Goal, rng: Rng) -> Found:
        found = Found.nothing(inputs)
        for rank, aimed in enumerate(goals(asked, inputs, goal, self.classes)):
            for restart in range(self.restarts):
                rows = found.standing
                if len(rows):
                    keyed = rng.select(rows.cpu().numpy()).fold(rank, restart)
                    found.merge(rows, self._run(asked, inputs[rows], aimed[rows], keyed))
        return found

    @property
    def _rule(self) -> Rule:
        return Sparsity() if self.norm == "l1" else Halving(BALLS[self.norm], self.rho)

    def _run(self, asked: Asked, inputs: Tensor, goal: Goal, rng: Rng) -> Found:
        found = Found.nothing(inputs)
        rows = torch.arange(len(inputs), device=inputs.device)
        x = self._rule.start(inputs, safe_radius(self.eps, self.norm, inputs), rng.fold("start"))
        for steps, factor in self._rule.phases(self.steps):
            if len(rows):
                rows, x = self._climb(asked, found, rows, x, goal, inputs, steps, factor)
        stands = ~found.broken[rows]
        found.images[rows[stands]] = x[stands]
        return found

    def _climb(
        self,
        asked: Asked,
        found: Found,
        rows: Int[Tensor, " m"],
        x: Float[Tensor, "m c h w"],
        goal: Goal,
        inputs: Float[Tensor, "n c h w"],
        steps: int,
        factor: float,
    ) -> tuple[Tensor, Tensor]:
        """Climb from `x`; hits go into `found`. Returns the rows that go on and their best points."""
        rule, gain = self._rule, LOSSES[self.loss]
        radius = safe_radius(factor * self.eps, self.norm, inputs)
        run = rule.run(inputs[rows], x, radius)
        checkpoints, last = rule.checkpoints(steps), 0
        for step in range(steps + 1):
            if step:
                run.x, run.previous = rule.advance(run, radius, first=step == 1), run.x
            within = BALLS[self.norm].norm(run.x - run.clean) <= self.eps
            if step < steps:
                answer = asked.ascent(run.x, goal[rows], gain, within & self.stop_at_hit)
                reached, value, gradient = answer.reached, answer.gain, answer.gradient
            else:
                reached, value = asked.gain(run.x, goal[rows], gain)
                gradient = torch.zeros_like(run.x)
            run.look(value, gradient)
            hit = reached & within
            found.take(rows[hit], run.x[hit])
            left = ~(hit & self.stop_at_hit)
            if not left.all():
                rows, reached = rows[left], reached[left]
                run.keep(left)
                if not len(rows):
                    break
            if step == 0:
                run.checked = run.best_gain.clone()
                warn_masked(run.gradient, reached)
            elif step in checkpoints:
                rule.adapt(run, step - last)
                last = step
        return rows, run.best
