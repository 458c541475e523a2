"""Lanes: examples in parts, worked on side by side by threads that share the processor's cores.

One operator of a small network leaves cores idle; several parts, each with its share of the cores, do not
(`benchmarks/lanes.py`).
"""

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

import torch
from torch import nn

Tool = TypeVar("Tool")
Part = TypeVar("Part")

SMALLEST = 16
"""Images a lane and pass below which lanes do not pay."""


def lane_count(model: nn.Module, batch_size: int) -> int:
    """How many lanes suit a model in batches of `batch_size`: as many as it has cores, each with `SMALLEST` images.

    One on a GPU, and for models without parameters, such as sessions of a runtime, which have threads of their own.
    """
    devices = {parameter.device.type for parameter in model.parameters()}
    return max(1, min(torch.get_num_threads(), batch_size // SMALLEST)) if devices == {"cpu"} else 1


class Stopped(BaseException):
    """Another lane failed, or the user broke off. No `Exception`: what explains those of models lets it pass."""


def in_lanes(
    work: Callable[[Tool, Part, Callable[[int], None]], None],
    tools: Sequence[Tool],
    parts: Iterable[Part],
    advance: Callable[[int], None],
) -> None:
    """Call `work(tool, part, advance)` for every part; a tool is used by one thread at a time.

    Args:
        work: what to do; calls its `advance` often, which raises once the others have stopped.
        tools: one a lane. With a single one all happens in the caller's thread.
        parts: in the order in which they are begun.
        advance: told of progress, by one thread at a time.

    Raises:
        Exception: what the first call to fail raised; the others are broken off.
    """
    if len(tools) == 1:
        for part in parts:
            work(tools[0], part, advance)
        return
    free: queue.SimpleQueue[Tool] = queue.SimpleQueue()
    for tool in tools:
        free.put(tool)
    stop, lock = threading.Event(), threading.Lock()

    def told(passes: int) -> None:
        if stop.is_set():
            raise Stopped
        with lock:
            advance(passes)

    def run(part: Part) -> None:
        if stop.is_set():
            return
        tool = free.get()
        try:
            work(tool, part, told)
        finally:
            free.put(tool)

    threads = torch.get_num_threads()
    share = max(1, threads // len(tools))
    try:
        with ThreadPoolExecutor(len(tools), initializer=torch.set_num_threads, initargs=(share,)) as pool:
            try:
                done, _ = wait([pool.submit(run, part) for part in parts], return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            finally:
                stop.set()
    finally:
        torch.set_num_threads(threads)  # threads to come would take over the lanes' share
