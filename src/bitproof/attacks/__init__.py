"""Attacks: `(model, inputs, labels, *, targets=None, rng) -> adversarial inputs`."""

from collections.abc import Callable

from bitproof.attacks.base import Attack
from bitproof.attacks.gradient import FGSM, PGD

ATTACKS: dict[str, Callable[..., Attack]] = {"fgsm": FGSM, "pgd": PGD}

__all__ = ["ATTACKS", "FGSM", "PGD", "Attack"]
