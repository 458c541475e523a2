"""Worker processes: they leave with the process that started them, however that ends."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnContext
from typing import Any

import cv2
import torch

from bitproof.core.memory import keep_freed_memory
from bitproof.errors import InputError

CONTEXT: SpawnContext = multiprocessing.get_context("spawn")
"""Not forked: a child inherits the locks of threads that it does not have."""

DIED = InputError(
    "a worker process ended before its work was done",
    rule="each needs memory of its own",
    remedy="Use fewer of them, or none, or give the container more memory",
)
"""What a `BrokenProcessPool` means to a user."""


def worker_pool(count: int, prepare: Callable[..., None], *args: Any, threads: int = 1) -> ProcessPoolExecutor:
    """Processes that call `prepare(*args)` once and then do what they are given.

    Args:
        count: of processes.
        threads: of each.
    """
    return ProcessPoolExecutor(count, CONTEXT, _begin, (os.getpid(), threads, prepare, args))


def _begin(parent: int, threads: int, prepare: Callable[..., None], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends them
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    keep_freed_memory()
    prepare(*args)


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:  # false from the start where the parent ended while this process began
        time.sleep(1)
    os._exit(1)
