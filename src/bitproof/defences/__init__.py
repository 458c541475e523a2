"""Defences at inference: `(model or models) -> model`, which knows how one who knows it attacks it.

Each is a setting that returns a module like any other under test. Results keep what it says beside its answers:
answers that it takes back, votes, certified radii. `evaluate` always adds the attack that knows of the defence.
"""

from bitproof.defences.base import Defence
from bitproof.defences.ensemble import Ensemble
from bitproof.defences.incremental import Certificates, certified_rows, incremental
from bitproof.defences.random_precision import RandomPrecision
from bitproof.defences.smoothing import Smoothing
from bitproof.defences.squeezing import Squeezing
from bitproof.settings import parse

DEFENCES: dict[str, type[Defence]] = {
    "squeezing": Squeezing,
    "ensemble": Ensemble,
    "random-precision": RandomPrecision,
    "smoothing": Smoothing,
}


def parse_defence(text: str) -> Defence:
    """Read `name:field=value,...`, e.g. `squeezing:detector=label`."""
    found = parse(text, DEFENCES, "defence")
    assert isinstance(found, Defence)
    return found


__all__ = [
    "DEFENCES",
    "Certificates",
    "Defence",
    "Ensemble",
    "RandomPrecision",
    "Smoothing",
    "Squeezing",
    "certified_rows",
    "incremental",
    "parse_defence",
]
