"""Conditions: what a model is tested under.

Three families, each judged in one way: *shifted* (`Shift`: made from the example alone), *crafted* (`Crafted`: needs a
model) and *rerun* (`Rerun`: the model is run another way). Each knows how it is recorded. One of your own is a shift,
an attack or a rerun in a file of your own.
"""

from bitproof.conditions.adaptive import with_adaptive
from bitproof.conditions.base import CONDITIONS, Condition, as_condition, as_crafted, check_names, parse_condition
from bitproof.conditions.clean import Clean
from bitproof.conditions.crafted import Crafted
from bitproof.conditions.suites import SUITES, conditions_of
from bitproof.conditions.targets import chosen_targets
from bitproof.conditions.universal import UNIVERSAL, UniversalPatch, UniversalPerturbation, parse_universal

__all__ = [
    "CONDITIONS",
    "SUITES",
    "UNIVERSAL",
    "Clean",
    "Condition",
    "Crafted",
    "UniversalPatch",
    "UniversalPerturbation",
    "as_condition",
    "as_crafted",
    "check_names",
    "chosen_targets",
    "conditions_of",
    "parse_condition",
    "parse_universal",
    "with_adaptive",
]
