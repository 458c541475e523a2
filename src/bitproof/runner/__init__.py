"""Execution of tasks against a store, with resume."""

from bitproof.runner.local import Tally, Task, run

__all__ = ["Tally", "Task", "run"]
