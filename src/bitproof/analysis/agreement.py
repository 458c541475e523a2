"""Agreement of members: do models of several bit-widths err on the same images? (Bernhard et al. 2019, Section 6)

An ensemble that answers where m of its members agree (`defences.Ensemble`) is worth something as far as they err on
different images, or at least towards different classes. Clean images, and those that an attack makes on each member in
turn, are shown to all: how often two answer alike, err together, and err together towards the same class; and for each
m how much would be answered, and how much of it wrongly. The attack knows one member only, as in the paper; what an
attack on all of them does is measured on the ensemble itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from bitproof.analysis.base import Case, Explanation
from bitproof.attacks import PGD, Attack
from bitproof.core.calling import logits_of
from bitproof.core.rng import Rng
from bitproof.core.voting import majorities, votes
from bitproof.errors import InputError
from bitproof.records import Agreement, ModelRecord


@dataclass(frozen=True, kw_only=True)
class MemberAgreement(Explanation):
    """Agreement of an ensemble's members: pairwise, errors in common, and what a filter by m of them lets through.

    Attributes:
        attack: made on each member, to its end, of all images, and shown to all members.
    """

    record: ClassVar = Agreement

    attack: Attack = field(default_factory=lambda: PGD(eps=8 / 255))

    def __post_init__(self) -> None:
        if self.attack.beside:
            raise InputError(
                f"the attack is {self.attack.label}",
                rule="images are made on one member at a time",
                remedy="Use fgsm, bim, pgd or another attack on one model",
            )

    def groups(self, models: Sequence[ModelRecord]) -> list[tuple[ModelRecord, ...]]:
        asked = tuple(model for model in models if model.gradients or self.attack.asks_only)
        return [asked] if len(asked) > 1 else []

    def passes(self, models: Sequence[ModelRecord]) -> int:
        return len(models) * (self.attack.passes + len(models) + 1)

    def look(self, case: Case) -> dict[str, Any]:
        if len(case.models) < 2:
            raise InputError("one model", rule="members of an ensemble are compared", remedy="Pass two or more")
        attack = self.attack.to_the_end()

        def answers(inputs: Tensor, labels: Tensor, rng: Rng) -> dict[str, Tensor]:
            shown = [inputs, *(attack(model, inputs, labels, rng=rng.fold("attack")) for model in case.models)]
            with torch.no_grad():
                said = [[logits_of(model, images).argmax(1) for model in case.models] for images in shown]
            return {"said": torch.stack([torch.stack(row, 1) for row in said], 1), "labels": labels}

        found = case.over(answers)
        said, labels = found["said"].transpose(1, 2, 0), found["labels"]
        wrong = said != labels
        alike = said[:, :, None] == said[:, None]
        both = wrong[:, :, None] & wrong[:, None]
        counts = np.stack([votes(torch.from_numpy(of), int(said.max()) + 1).numpy() for of in said])
        allowed = np.array(majorities(said.shape[1]))
        answered = counts.max(2)[:, None] >= allowed[:, None]
        return {
            "attack": attack.label,
            "same": alike.sum(-1),
            "wrong": both.sum(-1),
            "alike": (alike & both).sum(-1),
            "majorities": tuple(allowed.tolist()),
            "answered": answered.sum(-1),
            "fooled": (answered & (counts.argmax(2) != labels)[:, None]).sum(-1),
            "count": len(labels),
        }
