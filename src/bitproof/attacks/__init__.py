"""Attacks: `(model, inputs, labels, *, targets=None, rng) -> adversarial inputs`."""

from collections.abc import Callable

from bitproof.attacks.apgd import APGD
from bitproof.attacks.autoattack import AutoAttack
from bitproof.attacks.base import Attack
from bitproof.attacks.fab import FAB
from bitproof.attacks.gradient import FGSM, PGD
from bitproof.attacks.pool import PoolAttack
from bitproof.attacks.square import Square

ATTACKS: dict[str, Callable[..., Attack]] = {
    "fgsm": FGSM,
    "pgd": PGD,
    "apgd": APGD,
    "fab": FAB,
    "square": Square,
    "autoattack": AutoAttack,
}

__all__ = ["APGD", "ATTACKS", "FAB", "FGSM", "PGD", "Attack", "AutoAttack", "PoolAttack", "Square"]
