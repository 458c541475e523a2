"""Attacks: `(model, inputs, labels, *, targets=None, rng) -> adversarial inputs`."""

from collections.abc import Callable

from bitproof.attacks.base import Attack
from bitproof.attacks.cw import CW
from bitproof.attacks.eot import EOT
from bitproof.attacks.gradient import BIM, FGSM, MIFGSM, PGD, RFGSM, UnitStepPGD
from bitproof.attacks.noise import Noise

ATTACKS: dict[str, Callable[..., Attack]] = {
    "noise": Noise,
    "fgsm": FGSM,
    "r+fgsm": RFGSM,
    "bim": BIM,
    "mi-fgsm": MIFGSM,
    "pgd": PGD,
    "unit-step-pgd": UnitStepPGD,
    "cw": CW,
}

__all__ = ["ATTACKS", "BIM", "CW", "EOT", "FGSM", "MIFGSM", "PGD", "RFGSM", "Attack", "Noise", "UnitStepPGD"]
