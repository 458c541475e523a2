"""The tasks of a plan done by a Ray cluster, on this machine or on many (Moritz et al. 2018, arXiv 1712.05889).

The process that runs the experiment alone writes to the store, each record as soon as its task has ended. A worker that
dies loses the task that it was at, and that is done again. Models and images travel once to each worker; images that
are read from files need these files at the same place on every machine. No dashboard is started and nothing is told to
anybody.
"""

import importlib
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from bitproof.core.memory import keep_freed_memory
from bitproof.core.processes import UNPICKLED, unsendable
from bitproof.errors import InputError
from bitproof.records import Record
from bitproof.runner.executor import Outcome, Work, Workers, outcome
from bitproof.runner.progress import Progress
from bitproof.runner.task import Task
from bitproof.store import Store

RETRIES = 20
"""How often a task is done again whose worker died."""

AHEAD = 2
"""Tasks given to the cluster for each of its processors, so that none waits for the next one."""


@dataclass(frozen=True, kw_only=True)
class Ray:
    """As many tasks at once as the cluster has processors, costly ones first.

    Attributes:
        count: processors of a cluster that is started here, where there is no address.
        address: of a cluster that is there, such as "auto" or "10.0.0.1:6379"; None starts one here and ends it.
    """

    count: int
    address: str | None = None

    def __call__(self, works: Sequence[Work], bench: Any, store: Store, bar: Progress) -> Iterator[Record]:
        """The records that are wanted.

        Raises:
            InputError: Ray is not installed, the cluster cannot be reached, what is to be sent cannot be pickled, or
                the workers of one task died more than `RETRIES` times.
        """
        ray = _ray()
        threads = max(1, torch.get_num_threads() // self.count) if self.address is None else 1
        with self._cluster(ray) as processors:
            try:
                sent = ray.put(bench)
            except UNPICKLED as error:
                raise unsendable(error) from error
            workers = _Workers(processors, ray, sent, threads)
            try:
                yield from workers.do(works, store, bar)
            finally:
                for reference in workers.under_way:
                    ray.cancel(reference, force=True)

    @contextmanager
    def _cluster(self, ray: Any) -> Iterator[int]:
        """Join the cluster, or start one; how many processors it has."""
        if ray.is_initialized():  # by whoever called, whose it stays
            yield int(ray.cluster_resources().get("CPU", 1))
            return
        how = {"num_cpus": self.count} if self.address is None else {"address": self.address}
        try:
            if self.address not in (None, "auto"):
                _knock(self.address)
            ray.init(**how, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"no Ray cluster at {self.address or 'this machine'} ({(str(error).splitlines() or [''])[0]})",
                rule="the address is that of a cluster which `ray start --head` has started",
                remedy="Start it, or leave the address out to use this machine alone",
            ) from error
        try:
            yield int(ray.cluster_resources().get("CPU", 1))
        finally:
            ray.shutdown()


class _Workers(Workers):
    """The workers of a cluster, which have a few tasks ahead."""

    def __init__(self, count: int, ray: Any, sent: Any, threads: int) -> None:
        super().__init__(count, ahead=AHEAD)
        self._ray, self._sent, self._threads = ray, sent, threads
        self._do = ray.remote(max_retries=RETRIES, num_cpus=1)(_do)

    def give(self, task: Task, needed: dict[str, Any], missing: frozenset[str]) -> Any:
        return self._do.remote([self._sent], task, needed, missing, self._threads)

    def ended(self, bar: Progress) -> Iterable[Any]:
        done, _ = self._ray.wait([*self.under_way], timeout=0.2) if self.under_way else ([], [])
        for reference in done:
            parted, number = self.under_way[reference]
            bar.advance(parted.cost_of(number))
        return done

    def outcome(self, handle: Any, task: Task) -> Outcome:
        ray = self._ray
        try:
            return ray.get(handle)
        except ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        except ray.exceptions.RayError as error:
            raise InputError(
                f"{task.label} could not be done ({type(error).__name__})",
                rule=f"a task whose worker dies is done again, {RETRIES} times at most",
                remedy="Look at the memory of the machines, and run the same command again: what is done is kept",
            ) from error


def _knock(address: str) -> None:
    """Raise `OSError` or `ValueError` where nobody answers, for which Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=10).close()


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise InputError(
            "Ray is not installed", rule="executor=ray needs it", remedy="pip install 'bitproof[ray]'"
        ) from error


# ---- in a worker --------------------------------------------------------------------------------------------

_benches: dict[Any, Any] = {}
"""What this worker got already; one, that of the run that it works for."""


def _do(sent: list[Any], task: Task, needed: dict[str, Any], missing: frozenset[str], threads: int) -> Outcome:
    (reference,) = sent  # in a list, in which Ray leaves it as it is: it is fetched once a worker, not once a task
    if reference not in _benches:
        torch.set_num_threads(threads)
        keep_freed_memory()
        _benches.clear()
        _benches[reference] = _ray().get(reference)
    return outcome(task, _benches[reference], needed, missing, lambda passes: None)
