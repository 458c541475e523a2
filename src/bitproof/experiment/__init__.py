"""Experiments: models under conditions, judged by one evaluator."""

from bitproof.experiment.conditions import CONDITIONS, Clean, Condition, Transfer, parse_condition
from bitproof.experiment.experiment import Experiment, evaluate
from bitproof.experiment.made import Made, made_beside, made_in, make
from bitproof.experiment.results import Result
from bitproof.experiment.suites import SUITES
from bitproof.experiment.training import train

__all__ = [
    "CONDITIONS",
    "SUITES",
    "Clean",
    "Condition",
    "Experiment",
    "Made",
    "Result",
    "Transfer",
    "evaluate",
    "made_beside",
    "made_in",
    "make",
    "parse_condition",
    "train",
]
