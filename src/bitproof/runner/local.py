"""Running tasks on this machine, one after the other, against a store."""

import abc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bitproof.records import Cell
from bitproof.runner.progress import Progress
from bitproof.store import Store


class Task(abc.ABC):
    """Work that yields cells together, e.g. one corruption for all models."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """What is being done, for people."""

    @property
    @abc.abstractmethod
    def work(self) -> dict[str, int]:
        """Cost of each cell in passes, by its key."""

    @abc.abstractmethod
    def compute(self, missing: frozenset[str], store: Store, advance: Callable[[int], None]) -> Iterable[Cell]:
        """The cells whose keys are in `missing`, calling `advance` with the passes done."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How much of a run was new.

    Attributes:
        computed: cells that this run computed.
        reused: cells that the store held already.
    """

    computed: int
    reused: int


def run(tasks: Sequence[Task], store: Store, environment: Callable[[], dict[str, Any]], *, progress: bool) -> Tally:
    """Compute and store what is missing, in order; each cell is written as soon as it is complete.

    Args:
        tasks: what the experiment consists of.
        store: where results are looked up and written.
        environment: what the run is done on; asked and noted only if there is anything to compute.
        progress: show a bar with what is being done and how long is left.
    """
    keys = {key for task in tasks for key in task.work}
    missing = {key for key in keys if key not in store}
    if not missing:
        return Tally(computed=0, reused=len(keys))
    number = store.begin_run(environment())
    total = sum(work for task in tasks for key, work in task.work.items() if key in missing)
    computed = 0
    with Progress(total, enabled=progress) as bar:
        for task in tasks:
            here = frozenset(key for key in task.work if key in missing and key not in store)
            bar.start(task.label, skip=sum(w for k, w in task.work.items() if k in missing and k not in here))
            if here:
                for cell in task.compute(here, store, bar.advance):
                    store.append(cell, number)
                    computed += 1
    return Tally(computed=computed, reused=len(keys) - computed)
