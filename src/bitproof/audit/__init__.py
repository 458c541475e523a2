"""Is this checkpoint safe to quantize, and is this integer model what it claims to be?

An *inquiry* is a setting that asks a *case* (a float model, its quantized forms, what is deployed, a few images) one
question, and returns an *evidence*. A *verdict* rests on evidence alone.
"""

from bitproof.audit.case import Case, Form, Rounded
from bitproof.audit.inquiry import Finding, Inquiry, Meter

__all__ = ["Case", "Finding", "Form", "Inquiry", "Meter", "Rounded"]
