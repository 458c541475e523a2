"""Is this checkpoint safe to quantize, and is this integer model what it claims to be?

An *inquiry* is a setting that asks a *case* (a float model, its quantized forms, what is deployed, a few images) one
question, and returns an *evidence*. A *verdict* rests on evidence alone.
"""

from bitproof.audit.case import Case, Form, Rounded
from bitproof.audit.differential import DifferentialTriggers
from bitproof.audit.disparity import Disparity
from bitproof.audit.families import Family, built_in, family_of
from bitproof.audit.flips import DifferentialFlips
from bitproof.audit.inquiry import Inquiry, Meter
from bitproof.audit.ordinary import OrdinaryBackdoors
from bitproof.audit.pair import Pair
from bitproof.audit.phases import Phases
from bitproof.audit.remedies import REMEDIES, Remedy
from bitproof.audit.repairing import Repair, Repaired, repair
from bitproof.audit.sharpness import Sharpness
from bitproof.audit.specialness import Specialness
from bitproof.audit.verdict import conformal, judged, scores
from bitproof.records import Finding

INQUIRIES: dict[str, type[Inquiry]] = {
    "phases": Phases,
    "pair": Pair,
    "disparity": Disparity,
    "specialness": Specialness,
    "sharpness": Sharpness,
    "differential-triggers": DifferentialTriggers,
    "differential-flips": DifferentialFlips,
    "ordinary-backdoors": OrdinaryBackdoors,
}
"""What a model can be asked, from cheap to dear."""

QUICK: tuple[Inquiry, ...] = (Phases(), Pair(draws=39, level=0.025), Disparity(images=100))
QUICK += (Specialness(draws=39, enough=3, level=0.025, images=100),)
"""What is asked where it has to be quick; 2.5% of clean models look special by chance."""

FULL: tuple[Inquiry, ...] = (Phases(), Pair(), Disparity(), Specialness(), Sharpness())
FULL += (DifferentialTriggers(), DifferentialFlips(), OrdinaryBackdoors())

__all__ = [
    "FULL",
    "INQUIRIES",
    "QUICK",
    "REMEDIES",
    "Case",
    "DifferentialFlips",
    "DifferentialTriggers",
    "Disparity",
    "Family",
    "Finding",
    "Form",
    "Inquiry",
    "Meter",
    "OrdinaryBackdoors",
    "Pair",
    "Phases",
    "Remedy",
    "Repair",
    "Repaired",
    "Rounded",
    "Sharpness",
    "Specialness",
    "built_in",
    "conformal",
    "family_of",
    "judged",
    "repair",
    "scores",
]
