"""Worker processes: they leave with the process that started them, however that ends."""

import mmap
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext
from multiprocessing.reduction import DupFd
from typing import Any

import cv2
import torch

from bitproof.core.leaving import Leaving
from bitproof.core.memory import keep_freed_memory
from bitproof.errors import InputError


class Deaf(Leaving):
    """A process that never hears Ctrl-C, not even while it starts: the one that started it ends it."""

    def start(self) -> None:
        resource_tracker.ensure_running()  # which unblocks the signal, where it has to be started first
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what is started takes it over
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class DeafContext(SpawnContext):
    """Starts such processes."""

    Process = Deaf


CONTEXT = DeafContext()
"""Not forked: a child inherits the locks of threads that it does not have."""


def died() -> InputError:
    """What a `BrokenProcessPool` means to a user."""
    return InputError(
        "a worker process ended before its work was done",
        rule="each needs memory of its own, and a script that it can import: a file with `if __name__ == '__main__':`",
        remedy="Use fewer of them, or none, or give the container more memory",
    )


def worker_pool(count: int, prepare: Callable[..., None], *args: Any, threads: int = 1) -> ProcessPoolExecutor:
    """Processes that call `prepare(*args)` once and then do what they are given.

    Args:
        count: of processes.
        args: small, or `Handed`.
        threads: of each.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # a worker that imports the script it serves
        sys.exit(
            "error: a script that starts processes: each of them imports it first, and would start processes itself. "
            "Put what it does below the line `if __name__ == '__main__':`, or use jobs=1 and workers=0"
        )
    return ProcessPoolExecutor(count, CONTEXT, _begin, (threads, prepare, args))


UNPICKLED = pickle.PicklingError, AttributeError, TypeError, RuntimeError
"""What pickle raises where it cannot take a value."""


def unsendable(error: Exception) -> InputError:
    """What one of `UNPICKLED` means to a user."""
    return InputError(
        f"what processes work with cannot be sent to them ({error})",
        rule="they get copies of models and data, made by pickle, which knows no lambdas and local classes",
        remedy="Define it at the top of a module, or do the work in this process (jobs=1, workers=0)",
    )


class Handed:
    """A value of any size on its way to processes that begin, where it arrives as itself: by a file without a name.

    What goes through the pipe of the start blocks this process for ever if the other one ends before it has read it.

    Raises:
        InputError: it cannot be pickled.
    """

    def __init__(self, value: Any) -> None:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this is
        weakref.finalize(self, file.close)
        try:
            pickle.dump(value, file, pickle.HIGHEST_PROTOCOL)
        except UNPICKLED as error:
            raise unsendable(error) from error
        file.flush()
        self._number = file.fileno()

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self._number),)


def _received(file: Any) -> Any:
    with os.fdopen(file.detach(), "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return pickle.loads(content)  # noqa: S301 - the parent wrote it


def _begin(threads: int, prepare: Callable[..., None], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    keep_freed_memory()
    prepare(*args)
