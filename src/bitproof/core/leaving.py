"""Processes that leave with the one that started them, from their first moment on: so little is imported here."""

import os
import threading
import time
from multiprocessing.context import SpawnProcess
from typing import Any


class Leaving(SpawnProcess):
    """A process that looks once a second whether its parent is there, and leaves when it is not.

    It begins to look before it reads what else it is given, for which it may have to import torch for seconds.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (_Look(), type(self), self.__dict__)


class _Look:
    """What travels in front: reading it starts the thread that looks."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _look, (os.getpid(),)


def _look(parent: int) -> None:
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _arrived(_: None, kind: type[Leaving], state: dict[str, Any]) -> Leaving:
    process = kind.__new__(kind)
    process.__dict__.update(state)
    return process


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:  # false from the start where the parent ended while this process began
        time.sleep(1)
    os._exit(1)
