"""Models under test, what is known of them, and how they are told apart."""

from bitproof.subjects.fingerprint import fingerprint
from bitproof.subjects.probing import Probe, probe, same_answers, steadiness
from bitproof.subjects.state import changed_in, state_of
from bitproof.subjects.subject import Subject, tagged

__all__ = [
    "Probe",
    "Subject",
    "changed_in",
    "fingerprint",
    "probe",
    "same_answers",
    "state_of",
    "steadiness",
    "tagged",
]
