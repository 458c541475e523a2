"""Masked gradients in the report: a section's diagnoses as a verdict a model and a table of signals x models."""

from collections.abc import Sequence
from dataclasses import dataclass

from bitproof.diagnosis import Diagnosis, Signal
from bitproof.records import ModelRecord
from bitproof.report.sections import Section


@dataclass(frozen=True, kw_only=True)
class Line:
    """A signal with what it says of each model."""

    name: str
    signals: tuple[Signal | None, ...]


@dataclass(frozen=True, kw_only=True)
class Masking:
    """The diagnoses of one section, in the order of its models, and their signals side by side."""

    diagnoses: tuple[tuple[ModelRecord, Diagnosis], ...]
    lines: tuple[Line, ...]


def masking(section: Section, diagnoses: Sequence[Diagnosis]) -> Masking | None:
    """What was found on the section's data and seed for its models; None if nothing was looked for.

    A model with several diagnoses is shown with the last one.
    """
    here = {
        repr(diagnosis.model.identity): diagnosis
        for diagnosis in diagnoses
        if (diagnosis.data.fingerprint, diagnosis.seed) == (section.data.fingerprint, section.seed)
    }
    found = tuple((m, here[repr(m.identity)]) for m in section.models if repr(m.identity) in here)
    if not found:
        return None
    by_model = [{signal.name: signal for signal in diagnosis.signals} for _, diagnosis in found]
    names = dict.fromkeys(name for signals in by_model for name in signals)
    lines = tuple(Line(name=name, signals=tuple(signals.get(name) for signals in by_model)) for name in names)
    return Masking(diagnoses=found, lines=lines)
