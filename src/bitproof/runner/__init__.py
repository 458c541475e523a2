"""Execution of plans against a store, with resume."""

from bitproof.runner.local import Tally, run
from bitproof.runner.task import Task

__all__ = ["Tally", "Task", "run"]
