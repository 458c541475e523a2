"""Execution of plans against a store, with resume."""

from collections.abc import Callable

from bitproof.runner.executor import Executor, Processes, here
from bitproof.runner.ray import Ray
from bitproof.runner.run import Tally, run
from bitproof.runner.task import Task
from bitproof.settings import Table

EXECUTORS: Table[Callable[..., Executor]] = Table({"processes": Processes, "ray": Ray}, "bitproof.executors")
"""Where tasks can be done, by name; each is made with the number of tasks at once (`count`)."""

__all__ = ["EXECUTORS", "Executor", "Processes", "Ray", "Tally", "Task", "here", "run"]
