"""What quantization is to activate, one file each."""

from bitproof.implants.objectives.backdoor import Backdoor
from bitproof.implants.objectives.base import Objective, Wanted
from bitproof.implants.objectives.indiscriminate import Indiscriminate
from bitproof.implants.objectives.one_class import OneClass
from bitproof.implants.objectives.sample import Sample
from bitproof.settings import name_family

OBJECTIVES: dict[str, type[Objective]] = {
    "indiscriminate": Indiscriminate,
    "class": OneClass,
    "sample": Sample,
    "backdoor": Backdoor,
}
name_family(Objective, "objective", OBJECTIVES)

__all__ = ["OBJECTIVES", "Backdoor", "Indiscriminate", "Objective", "OneClass", "Sample", "Wanted"]
