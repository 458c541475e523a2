"""Conditions that need a model: the images that an attack makes on it."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from bitproof.attacks import Attack
from bitproof.core.balls import BALLS
from bitproof.errors import InputError, lookup
from bitproof.records import ConditionRecord
from bitproof.settings import describe

EXAMPLES = ("right", "all")
"""Which ones are attacked: those that the attacked model gets right on the clean image, or all, as in the transfers and
the tables of Bernhard et al. 2019 (Section 4.3), where an image that the source gets wrong is moved like any other."""


@dataclass(frozen=True, kw_only=True)
class Crafted:
    """The images that an attack makes on each model, or on one model for all of them. A plain attack is taken for this.

    Attributes:
        attack: makes them.
        examples: those that it is given, a name in `EXAMPLES`; the others stay as they are.
        targets: the class that it goes for, a rule of `bitproof.conditions.targets` or a class by name or number;
            None = any class but the label.
        source: name of the one model of the experiment that is attacked (a transfer); None = each for itself.
        keeps: name of the model whose answers the attack leaves as they are, for one that is about two (`diva`), and
            which it is not made on; None = the first of the experiment.

    Example:
        >>> from bitproof.attacks import PGD
        >>> Crafted(attack=PGD(eps=2 / 255), targets="next").label
        'pgd-20 linf 2/255 to next'
    """

    family: ClassVar[str] = "crafted"

    attack: Attack
    examples: str = EXAMPLES[0]
    targets: str | int | None = None
    source: str | None = None
    keeps: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.targets, int):
            object.__setattr__(self, "targets", str(self.targets))
        lookup(dict.fromkeys(EXAMPLES), self.examples, "choice of examples")
        for name in ("targets", "source", "keeps"):
            if getattr(self, name) == "":
                raise InputError(f"{name} is empty", rule="it names one, or is None", remedy=f"Leave {name} out")
        if self.keeps is not None and not self.attack.beside:
            raise InputError(
                f"keeps is {self.keeps!r} with {self.attack.label!r}",
                rule="only an attack that is about two models leaves the answers of one as they are",
                remedy="Leave it out, or use diva",
            )
        if self.keeps is not None and self.keeps == self.source:
            raise InputError(
                f"source and keeps are both {self.source!r}",
                rule="no image deceives a model and leaves its answer as it is",
                remedy="Name two models",
            )

    @property
    def _aim(self) -> str:
        to = f" to {self.targets}" if self.targets else ""
        return to + " on all" * (self.examples == "all") + (f" beside {self.keeps}" if self.keeps else "")

    @property
    def label(self) -> str:
        """The attack's, with what it goes for, whether on all examples, and where it was made."""
        return f"{self.attack.label}{self._aim}" + (f" from {self.source}" if self.source else "")

    @property
    def passes(self) -> int:
        """Most passes an example: those of the attack, and a look at what it made."""
        return self.attack.passes + 1

    def record(self) -> ConditionRecord:
        """How results name it."""
        attack = self.attack
        kind = "minimum" if attack.eps == math.inf else "differential" if attack.beside else "attack"
        variant = "" if math.isinf(attack.eps) else BALLS[attack.norm].text(attack.eps)
        words = [word for word in attack.label.split(" ") if self.source or word != variant]
        return ConditionRecord(
            kind="transfer" if self.source else kind,
            label=self.label,
            group=" ".join(words) + self._aim,
            variant=variant,
            setting=describe(attack, sources=True),
            how={} if self.examples == EXAMPLES[0] else {"examples": self.examples},
            norm=attack.norm,
            eps=float(attack.eps),
            targets=None if self.targets is None else str(self.targets),
            source=self.source,
        )

    def differs_in_budget(self, other: Any) -> bool:
        """Whether the other one is the same but for eps."""
        return (
            isinstance(other, Crafted)
            and (other.targets, other.source, other.examples) == (self.targets, self.source, self.examples)
            and other.keeps == self.keeps
            and _without_eps(describe(self.attack, sources=True)) == _without_eps(describe(other.attack, sources=True))
        )


def _without_eps(setting: dict[str, Any]) -> dict[str, Any]:
    return {k: _without_eps(v) if isinstance(v, dict) else v for k, v in setting.items() if k != "eps"}
