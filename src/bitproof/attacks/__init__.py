"""Attacks: `(model, inputs, labels, *, targets=None, rng) -> adversarial inputs`."""

from collections.abc import Callable

from bitproof.attacks.adaptive import Adaptive
from bitproof.attacks.apgd import APGD
from bitproof.attacks.autoattack import AutoAttack
from bitproof.attacks.base import Attack
from bitproof.attacks.bpda import BPDA
from bitproof.attacks.cw import CW
from bitproof.attacks.ddn import DDN
from bitproof.attacks.deepfool import DeepFool
from bitproof.attacks.diva import DIVA, Differential
from bitproof.attacks.eot import EOT
from bitproof.attacks.fab import FAB
from bitproof.attacks.fmn import FMN
from bitproof.attacks.gradient import BIM, FGSM, MIFGSM, PGD, RFGSM, MadryPGD, UnitStepPGD
from bitproof.attacks.hopskipjump import HopSkipJump
from bitproof.attacks.noise import Noise
from bitproof.attacks.patch import AdversarialPatch
from bitproof.attacks.spsa import SPSA
from bitproof.attacks.square import Square
from bitproof.attacks.zoo import ZOO
from bitproof.settings import Table, name_family

ATTACKS: dict[str, Callable[..., Attack]] = {
    "noise": Noise,
    "fgsm": FGSM,
    "r+fgsm": RFGSM,
    "bim": BIM,
    "mi-fgsm": MIFGSM,
    "pgd": PGD,
    "madry-pgd": MadryPGD,
    "unit-step-pgd": UnitStepPGD,
    "cw": CW,
    "deepfool": DeepFool,
    "ddn": DDN,
    "fmn": FMN,
    "apgd": APGD,
    "fab": FAB,
    "square": Square,
    "autoattack": AutoAttack,
    "spsa": SPSA,
    "zoo": ZOO,
    "hopskipjump": HopSkipJump,
    "adversarial-patch": AdversarialPatch,
    "diva": DIVA,
    "eot": EOT,
    "bpda": BPDA,
    "adaptive": Adaptive,
}
# For attacks around another one: eot:attack=pgd(eps=8/255).
name_family(Attack, "attack", Table(ATTACKS, "bitproof.attacks"))

__all__ = [
    "APGD",
    "ATTACKS",
    "BIM",
    "BPDA",
    "CW",
    "DDN",
    "DIVA",
    "EOT",
    "FAB",
    "FGSM",
    "FMN",
    "MIFGSM",
    "PGD",
    "RFGSM",
    "SPSA",
    "ZOO",
    "Adaptive",
    "AdversarialPatch",
    "Attack",
    "AutoAttack",
    "DeepFool",
    "Differential",
    "HopSkipJump",
    "MadryPGD",
    "Noise",
    "Square",
    "UnitStepPGD",
]
