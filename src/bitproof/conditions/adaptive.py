"""The attacks that belong to a defence: no defence is shown without those made by somebody who knows of it."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bitproof.attacks import FMN, PGD, Adaptive, Attack, Square
from bitproof.conditions.crafted import Crafted


def with_adaptive(conditions: Sequence[Any], *, gradients: bool) -> list[Any]:
    """The conditions, and behind each attack the same one by somebody who knows of the defence.

    Where no attack has one, PGD at 8/255 gets it. Attacks that only ask stay as they are where others follow gradients.

    Args:
        conditions: of any families.
        gradients: whether all defended models have any; otherwise attacks that only ask get theirs, by default Square.
    """
    found: list[Any] = []
    for condition in conditions:
        found.append(condition)
        informs = isinstance(condition, Crafted) and condition.source is None and not condition.attack.beside
        if informs and condition.attack.asks_only != gradients:
            found.append(replace(condition, attack=_informed(condition.attack)))
    if not any(isinstance(c, Crafted) and c.attack.undefended is not None for c in found):
        attack = PGD() if gradients else Square(queries=500)
        found += [Crafted(attack=attack), Crafted(attack=Adaptive(attack=attack))]
    return found


def _informed(attack: Attack) -> Attack:
    """The attack, or where it cannot be sent to a class another one of its budget, as `Adaptive` takes it."""
    if attack.undefended is not None:
        return attack
    if attack.takes_targets:
        return Adaptive(attack=attack)
    if math.isinf(attack.eps):
        return Adaptive(attack=FMN(norm=attack.norm))
    return Adaptive(attack=PGD(norm=attack.norm, eps=attack.eps, steps=100))
