"""Conditions written as text."""

from bitproof.conditions import CONDITIONS, parse_condition
from bitproof.experiment import Clean
from bitproof.records import KINDS
from bitproof.shifts import RELEASED, GaussianNoise

FILLED = {name: f"{name}:attack=pgd(steps=3)" for name in ("crafted", "eot", "bpda", "adaptive")}
"""Conditions that hold another one."""


def test_conditions_can_be_written_as_text():
    assert parse_condition("clean") == Clean()
    assert parse_condition("gaussian-noise:severity=5") == GaussianNoise(severity=5)
    for name in CONDITIONS.keys() - RELEASED.keys():  # those need a root
        assert parse_condition(FILLED.get(name, name)).record().kind in KINDS
