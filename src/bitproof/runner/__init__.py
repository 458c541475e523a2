"""Execution of plans against a store, with resume."""

from collections.abc import Callable

from bitproof.runner.executor import Executor, Processes, here
from bitproof.runner.run import Tally, run
from bitproof.runner.task import Task
from bitproof.settings import Table

EXECUTORS: Table[Callable[..., Executor]] = Table({"processes": Processes}, "bitproof.executors")
"""Ways to do the tasks of a plan elsewhere, by the name that `--executor` takes."""

__all__ = ["EXECUTORS", "Executor", "Processes", "Tally", "Task", "here", "run"]
