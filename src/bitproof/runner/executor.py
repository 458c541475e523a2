"""Where the tasks of a plan are done: in this process one after the other, or several at once in others."""

import contextlib
import queue
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any, Protocol, runtime_checkable

import torch

from bitproof.core.processes import CONTEXT, Handed, died, worker_pool
from bitproof.records import Record
from bitproof.runner.progress import Progress
from bitproof.runner.task import Task
from bitproof.settings import failed_in_own_code
from bitproof.store import Store


@dataclass(frozen=True, kw_only=True)
class Work:
    """A task of which something is to be done.

    Attributes:
        task: it.
        wanted: keys of its records that were missing when the run began.
    """

    task: Task
    wanted: frozenset[str]

    @property
    def cost(self) -> int:
        """In passes."""
        return sum(self.task.yields[key] for key in self.wanted)

    def begin(self, store: Store, bar: Progress) -> tuple[dict[str, Any], frozenset[str]]:
        """The records that it needs, by part, and the keys that are missing still; `bar` is told of the others."""
        missing = frozenset(store.missing(self.wanted))
        bar.start(self.task.label, skip=sum(self.task.yields[key] for key in self.wanted - missing))
        return {part: store.get(key) for part, key in self.task.needs.items() if missing}, missing


def ready(waiting: Sequence[Work], under_way: Iterable[Work]) -> list[Work]:
    """Those that need nothing which is still to be done, in their order."""
    lacking = {key for work in (*waiting, *under_way) for key in work.wanted}
    return [work for work in waiting if not lacking & set(work.task.needs.values())]


@runtime_checkable
class Executor(Protocol):
    """Does the tasks of a plan."""

    def __call__(self, works: Sequence[Work], bench: Any, store: Store, bar: Progress) -> Iterator[Record]:
        """The records that are wanted, each as soon as it is complete.

        Args:
            works: each behind those that yield what it needs.
            bench: what tasks work with.
            store: where records are looked up; the caller writes one there before it asks for the next.
            bar: told of progress.
        """
        ...


def here(works: Sequence[Work], bench: Any, store: Store, bar: Progress) -> Iterator[Record]:
    """In this process, one task after the other."""
    for work in works:
        needed, missing = work.begin(store, bar)
        if missing:
            yield from work.task(bench, needed, missing, bar.advance)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """In `count` processes, each with its share of the cores: as many tasks at once, costly ones first.

    A task's records come together when it ends: one that is broken off is done anew by the next run.
    """

    count: int

    def __call__(self, works: Sequence[Work], bench: Any, store: Store, bar: Progress) -> Iterator[Record]:
        """The records that are wanted.

        Raises:
            InputError: a process that died.
        """
        waiting = sorted(works, key=lambda work: -work.cost)
        under_way: dict[Future[list[Record]], Work] = {}
        passes, stop = CONTEXT.Queue(), CONTEXT.Event()
        threads = max(1, torch.get_num_threads() // self.count)
        with worker_pool(self.count, _prepare, Handed(bench), passes, stop, threads=threads) as pool:
            try:
                while waiting or under_way:
                    for work in ready(waiting, under_way.values())[: self.count - len(under_way)]:
                        waiting.remove(work)
                        needed, missing = work.begin(store, bar)
                        if missing:
                            under_way[pool.submit(_do, work.task, needed, missing)] = work
                    done, _ = wait(under_way, timeout=0.2, return_when=FIRST_COMPLETED)
                    _tell(bar, passes)
                    for future in done:
                        del under_way[future]
                        yield from future.result()
            except BrokenProcessPool as error:
                raise died() from error
            finally:
                stop.set()
                for future in under_way:
                    future.cancel()
                _tell(bar, passes)


def _tell(bar: Progress, passes: "Queue[int]") -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            bar.advance(passes.get_nowait())


# ---- in a worker --------------------------------------------------------------------------------------------


class Stopped(BaseException):
    """The run was broken off. No `Exception`: what explains those of models lets it pass."""


_worker: "tuple[Any, Queue[int], Event]"


def _prepare(bench: Any, passes: "Queue[int]", stop: Event) -> None:
    global _worker
    _worker = bench, passes, stop


def _do(task: Task, needed: dict[str, Any], missing: frozenset[str]) -> list[Record]:
    bench, passes, stop = _worker

    def advance(done: int) -> None:
        if stop.is_set():
            raise Stopped
        passes.put(done)

    try:
        return list(task(bench, needed, missing, advance))
    except Exception as error:  # frames of a traceback do not travel
        raise failed_in_own_code(error) or error from error
