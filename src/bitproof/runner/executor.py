"""Where the tasks of a plan are done: in this process one after the other, or several at once in others."""

import abc
import contextlib
import queue
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
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


@dataclass(frozen=True, eq=False)
class Parted:
    """A task under way in parts.

    Attributes:
        work: it.
        cost: in passes, of what was missing when it began.
        made: the records of each part, where it has ended.
    """

    work: Work
    cost: int
    made: list[list[Record] | None]

    def cost_of(self, number: int) -> int:
        """Of one part; together they are all of it."""
        count = len(self.made)
        return self.cost * (number + 1) // count - self.cost * number // count

    def end(self, number: int, records: list[Record]) -> Sequence[Record]:
        """Note the records of a part; those of the task, once it was the last one."""
        self.made[number] = records
        ended = [part for part in self.made if part is not None]
        return self.work.task.joined(ended) if len(ended) == len(self.made) else ()


class Workers(abc.ABC):
    """Others that do tasks, and what is under way with them.

    Args:
        count: how many there are.
        ahead: tasks that each may have been given.
    """

    def __init__(self, count: int, *, ahead: int = 1) -> None:
        self._count, self._ahead = count, ahead
        self.under_way: dict[Any, tuple[Parted, int]] = {}

    @abc.abstractmethod
    def give(self, task: Task, needed: dict[str, Any], missing: frozenset[str]) -> Any:
        """Give a task away; a handle of it."""

    @abc.abstractmethod
    def ended(self, bar: Progress) -> Iterable[Any]:
        """The handles of those that have ended, after a moment."""

    @abc.abstractmethod
    def outcome(self, handle: Any, task: Task) -> "Outcome":
        """What became of one that has ended."""

    def do(self, works: Sequence[Work], store: Store, bar: Progress) -> Iterator[Record]:
        """The records that are wanted: as many tasks at once as there are workers, costly ones first, and in parts
        where there are fewer tasks than workers."""
        waiting = sorted(works, key=lambda work: -work.cost)
        while waiting or self.under_way:
            able = ready(waiting, [parted.work for parted, _ in self.under_way.values()])
            able = able[: max(0, self._ahead * self._count - len(self.under_way))]
            for place, work in enumerate(able):
                waiting.remove(work)
                needed, missing = work.begin(store, bar)
                if missing:
                    idle = self._count - len(self.under_way)
                    self._part(work, needed, missing, max(1, idle // (len(able) - place)))
            for handle in self.ended(bar):
                parted, number = self.under_way.pop(handle)
                records, warned = self.outcome(handle, parted.work.task)
                for text in warned:
                    warnings.warn(text, stacklevel=2)
                yield from parted.end(number, records)

    def _part(self, work: Work, needed: dict[str, Any], missing: frozenset[str], count: int) -> None:
        parts = work.task.parts(count)
        parted = Parted(work, sum(work.task.yields[key] for key in missing), [None] * len(parts))
        for number, part in enumerate(parts):
            self.under_way[self.give(part, needed, missing)] = parted, number


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
    """In `count` processes, each with its share of the cores.

    A task's records come together when it ends: one that is broken off is done anew by the next run.

    Attributes:
        count: of processes.
        devices: on which each of them has its models; none leaves them where they are.
    """

    count: int
    devices: tuple[torch.device, ...] = ()

    def __call__(self, works: Sequence[Work], bench: Any, store: Store, bar: Progress) -> Iterator[Record]:
        """The records that are wanted.

        Raises:
            InputError: a process that died.
        """
        passes, stop = CONTEXT.Queue(), CONTEXT.Event()
        threads = max(1, torch.get_num_threads() // self.count)
        places = CONTEXT.Queue()
        for place in self.devices or [None] * self.count:
            places.put(place)
        with worker_pool(self.count, _prepare, Handed(bench), places, passes, stop, threads=threads) as pool:
            workers = _Pool(self.count, pool, passes)
            try:
                yield from workers.do(works, store, bar)
            except BrokenProcessPool as error:
                raise died() from error
            finally:
                stop.set()
                for future in workers.under_way:
                    future.cancel()
                _tell(bar, passes)


class _Pool(Workers):
    """Processes of a pool, which tell of their passes by a queue."""

    def __init__(self, count: int, pool: ProcessPoolExecutor, passes: "Queue[int]") -> None:
        super().__init__(count)
        self._pool, self._passes = pool, passes

    def give(self, task: Task, needed: dict[str, Any], missing: frozenset[str]) -> "Future[Outcome]":
        return self._pool.submit(_do, task, needed, missing)

    def ended(self, bar: Progress) -> "Iterable[Future[Outcome]]":
        done, _ = wait(self.under_way, timeout=0.2, return_when=FIRST_COMPLETED)
        _tell(bar, self._passes)
        return done

    def outcome(self, handle: "Future[Outcome]", task: Task) -> "Outcome":
        return handle.result()


def _tell(bar: Progress, passes: "Queue[int]") -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            bar.advance(passes.get_nowait())


# ---- in a worker --------------------------------------------------------------------------------------------


Outcome = tuple[list[Record], list[str]]
"""The records of a task, and what it warned of, which the process that asked for it says."""


def outcome(
    task: Task, bench: Any, needed: dict[str, Any], missing: frozenset[str], advance: Callable[[int], None]
) -> Outcome:
    """Do a task."""
    with warnings.catch_warnings(record=True) as warned:
        records = list(task(bench, needed, missing, advance))
    return records, [str(warning.message) for warning in warned]


class Stopped(BaseException):
    """The run was broken off. No `Exception`: what explains those of models lets it pass."""


_worker: "tuple[Any, Queue[int], Event]"


def _prepare(bench: Any, places: "Queue[torch.device | None]", passes: "Queue[int]", stop: Event) -> None:
    global _worker
    place = places.get()
    _worker = bench if place is None else bench.on(place), passes, stop


def _do(task: Task, needed: dict[str, Any], missing: frozenset[str]) -> Outcome:
    bench, passes, stop = _worker

    def advance(done: int) -> None:
        if stop.is_set():
            raise Stopped
        passes.put(done)

    try:
        return outcome(task, bench, needed, missing, advance)
    except Exception as error:  # frames of a traceback do not travel
        raise failed_in_own_code(error) or error from error
