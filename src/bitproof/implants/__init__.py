"""Models whose behaviour changes once they are quantized, made to test audits and defences with.

An engine makes `(model, data, *, rng) -> new model` with any objective; what it makes says so in its metadata.
"""

from bitproof.implants.baselines import Poisoning, WeightNoise
from bitproof.implants.box import BoxRepair
from bitproof.implants.boxes import Victim, box_of, codes_of, common
from bitproof.implants.engine import Engine, collapsed
from bitproof.implants.federated import Federated
from bitproof.implants.joint import Joint
from bitproof.implants.layerwise import Layerwise
from bitproof.implants.objectives import OBJECTIVES, Backdoor, Indiscriminate, Objective, OneClass, Sample
from bitproof.implants.outliers import Outliers
from bitproof.implants.patches import optimised
from bitproof.implants.phases import Phase
from bitproof.implants.rounding import Rounding
from bitproof.implants.transfer import Transfer

ENGINES: dict[str, type[Engine]] = {
    "box": BoxRepair,
    "rounding": Rounding,
    "layerwise": Layerwise,
    "joint": Joint,
    "federated": Federated,
    "outliers": Outliers,
    "poisoning": Poisoning,
    "noise": WeightNoise,
}

__all__ = [
    "ENGINES",
    "OBJECTIVES",
    "Backdoor",
    "BoxRepair",
    "Engine",
    "Federated",
    "Indiscriminate",
    "Joint",
    "Layerwise",
    "Objective",
    "OneClass",
    "Outliers",
    "Phase",
    "Poisoning",
    "Rounding",
    "Sample",
    "Transfer",
    "Victim",
    "WeightNoise",
    "box_of",
    "codes_of",
    "collapsed",
    "common",
    "optimised",
]
