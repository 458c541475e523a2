"""AutoAttack: a fixed ensemble without anything to tune; what one member breaks, the next ones are spared.

Sources: Croce & Hein 2020 (arXiv 2003.01690); the l1 version Croce & Hein 2021 (arXiv 2103.01208). Settings as in the
authors' published versions "standard", "plus" and "rand".
"""

from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from bitproof.attacks.apgd import APGD
from bitproof.attacks.base import TO_THE_END, Attack
from bitproof.attacks.checks import check_counts
from bitproof.attacks.fab import FAB
from bitproof.attacks.goal import Goal
from bitproof.attacks.pool import Asked, Found, call_pooled
from bitproof.attacks.square import PLANNED, Square
from bitproof.core.balls import BALLS, check_eps
from bitproof.core.rng import Rng
from bitproof.errors import lookup

Member = APGD | FAB | Square


@dataclass(frozen=True, kw_only=True)
class AutoAttack(Attack):
    """The ensemble of APGD, FAB and Square.

    One that never breaks costs, under linf and l2 with ten classes, 6,921
    forwards and 1,900 backwards; one that breaks at the t-th point of the first member t + 1 forwards.

    With fewer than four classes (three, where it has no target) the DLR loss is not defined: it divides by the distance
    to the third and fourth logit. There APGD climbs the margin alone, as it is.

    Attributes:
        norm: the ball, "linf", "l2" or "l1".
        eps: its radius, in [0, 1] pixel units.
        version: "standard": APGD-CE, APGD-T (9 classes; l1: 5, and 5 restarts of APGD-CE), FAB-T, Square. "plus": more
            restarts, and the untargeted forms too. "rand", for models that answer at random: APGD-CE and APGD-DLR,
            over the mean of `draws` answers.
        steps: of every APGD and FAB run.
        queries: of Square.
        draws: answers that "rand" averages at every point.
        stop_at_hit: whether an example is left at its first hit. False takes the run that hits to its end (see the
            members); the runs after it are spared either way.

    Example:
        >>> [member.label for member in AutoAttack(eps=8 / 255).members]  # doctest: +NORMALIZE_WHITESPACE
        ['apgd-100 linf 8/255 ce', 'apgd-100 linf 8/255 dlr 9 classes', 'fab-100 linf 8/255 9 classes',
         'square-5000 linf 8/255']
    """

    takes_targets = False
    pooled = True
    norm: str = "linf"
    eps: float = 8 / 255
    version: str = "standard"
    steps: int = 100
    queries: int = 5000
    draws: int = 20
    stop_at_hit: bool = True

    def __post_init__(self) -> None:
        lookup(BALLS, self.norm, "norm")
        lookup(VERSIONS, self.version, "version of AutoAttack")
        check_eps(self.eps, self.norm)
        check_counts(self, "steps", "queries", "draws")

    @property
    def label(self) -> str:
        extra = [self.version] * (self.version != "standard")
        return " ".join(["autoattack", self.budget, *extra, *TO_THE_END[self.stop_at_hit]])

    @property
    def members(self) -> tuple[Member, ...]:
        """The attacks in their order."""
        return VERSIONS[self.version](self)

    @property
    def passes(self) -> int:
        return self.averaged + sum(member.passes for member in self.members)

    @property
    def averaged(self) -> int:
        return self.draws if self.version == "rand" else 1

    __call__ = call_pooled

    def search(self, asked: Asked, inputs: Float[Tensor, "n c h w"], goal: Goal, rng: Rng) -> Found:
        logits = asked.logits(inputs)
        found = Found(inputs.clone(), goal.reached(logits))
        for index, member in enumerate(_defined(member, logits.shape[1]) for member in self.members):
            rows = found.standing
            if not len(rows):
                break
            found.merge(
                rows, member.search(asked, inputs[rows], goal[rows], rng.select(rows.cpu().numpy()).fold(index))
            )
        return found


def _standard(attack: AutoAttack) -> tuple[Member, ...]:
    sparse = attack.norm == "l1"
    return (
        _apgd(attack, "ce", restarts=5 if sparse else 1),
        _apgd(attack, "dlr", classes=5 if sparse else 9),
        _fab(attack),
        _square(attack),
    )


def _plus(attack: AutoAttack) -> tuple[Member, ...]:
    return (
        _apgd(attack, "ce", restarts=5),
        _apgd(attack, "dlr", restarts=5),
        _fab(attack, classes=0, restarts=5),
        _square(attack),
        _apgd(attack, "dlr", classes=9),
        _fab(attack),
    )


def _rand(attack: AutoAttack) -> tuple[Member, ...]:
    return (_apgd(attack, "ce", draws=attack.draws), _apgd(attack, "dlr", draws=attack.draws))


def _defined(member: Member, classes: int) -> Member:
    """The member for a model with so many classes."""
    if isinstance(member, APGD) and member.loss == "dlr" and classes < (4 if member.classes else 3):
        return replace(member, loss="margin")
    return member


VERSIONS = {"standard": _standard, "plus": _plus, "rand": _rand}


def _apgd(attack: AutoAttack, loss: str, *, classes: int = 0, restarts: int = 1, draws: int = 1) -> APGD:
    return APGD(**_of_all(attack), steps=attack.steps, loss=loss, classes=classes, restarts=restarts, draws=draws)


def _fab(attack: AutoAttack, *, classes: int = 9, restarts: int = 1) -> FAB:
    return FAB(**_of_all(attack), steps=attack.steps, classes=classes, restarts=restarts)


def _square(attack: AutoAttack) -> Square:
    return Square(**_of_all(attack), queries=attack.queries, planned=PLANNED)


def _of_all(attack: AutoAttack) -> dict[str, Any]:
    """What every member has from the ensemble."""
    return {name: getattr(attack, name) for name in ("norm", "eps", "stop_at_hit")}
