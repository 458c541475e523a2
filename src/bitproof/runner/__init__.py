"""Execution of plans against a store, with resume."""

from bitproof.runner.executor import Executor, Processes, here
from bitproof.runner.run import Tally, run
from bitproof.runner.task import Task

__all__ = ["Executor", "Processes", "Tally", "Task", "here", "run"]
