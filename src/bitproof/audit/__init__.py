"""Is this checkpoint safe to quantize, and is this integer model what it claims to be?

An *inquiry* is a setting that asks a *case* (a float model, its quantized forms, what is deployed, a few images) one
question, and returns an *evidence*. A *verdict* rests on evidence alone.
"""

from bitproof.audit.case import Case, Form, Rounded
from bitproof.audit.differential import DifferentialTriggers
from bitproof.audit.inquiry import Finding, Inquiry, Meter
from bitproof.audit.remedies import REMEDIES, Remedy
from bitproof.audit.repairing import Repair, Repaired, repair

__all__ = [
    "REMEDIES",
    "Case",
    "DifferentialTriggers",
    "Finding",
    "Form",
    "Inquiry",
    "Meter",
    "Remedy",
    "Repair",
    "Repaired",
    "Rounded",
    "repair",
]
