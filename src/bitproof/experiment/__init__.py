"""Experiments: models under conditions, judged by one evaluator."""

from bitproof.conditions import CONDITIONS, Clean, Condition, Crafted, parse_condition
from bitproof.conditions.suites import SUITES
from bitproof.experiment.analyses import ANALYSES, Analysis, Masking, as_analysis
from bitproof.experiment.auditing import audit_model
from bitproof.experiment.estimate import Estimate, estimate
from bitproof.experiment.experiment import Experiment, evaluate, experiment_of
from bitproof.experiment.implanting import implant
from bitproof.experiment.made import Made, made_beside, made_in, make
from bitproof.experiment.results import Result
from bitproof.experiment.stores import compare_stores, merge
from bitproof.experiment.training import train

__all__ = [
    "ANALYSES",
    "CONDITIONS",
    "SUITES",
    "Analysis",
    "Clean",
    "Condition",
    "Crafted",
    "Estimate",
    "Experiment",
    "Made",
    "Masking",
    "Result",
    "as_analysis",
    "audit_model",
    "compare_stores",
    "estimate",
    "evaluate",
    "experiment_of",
    "implant",
    "made_beside",
    "made_in",
    "make",
    "merge",
    "parse_condition",
    "train",
]
