"""Masked gradients: a verdict a model, and a table of signals x models."""

from dataclasses import dataclass

from bitproof.records import Diagnosis, ModelRecord, Signal
from bitproof.report.panels.base import Panel
from bitproof.report.sections import Section
from bitproof.settings import digest


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


def masking(section: Section) -> Masking | None:
    """What was found for the section's models; None if nothing was looked for.

    A model with several diagnoses is shown with the last one.
    """
    here = {digest(diagnosis.model.identity): diagnosis for diagnosis in section.of(Diagnosis)}
    found = tuple((m, here[key]) for m in section.everyone if (key := digest(m.identity)) in here)
    if not found:
        return None
    by_model = [{signal.name: signal for signal in diagnosis.signals} for _, diagnosis in found]
    names = dict.fromkeys(name for signals in by_model for name in signals)
    lines = tuple(Line(name=name, signals=tuple(signals.get(name) for signals in by_model)) for name in names)
    return Masking(diagnoses=found, lines=lines)


PANEL = Panel(name="masking", title="Masked gradients", shows=masking)
