"""What a Ray cluster costs and saves: two workers over one, and the scheduler's share of tasks of one second.

    python benchmarks/scaling.py [IMAGES] [ROUNDS] [WORKERS]      by default 256, 3 and 16

"two workers": one model under PGD-10 that breaks nothing, whose examples are parted, against one worker, in rotation
with two bare processes of one thread against one, which is the most that this machine gives. Starting a cluster is not
measured. Goal: 1.8, or what the bare processes get. "scheduler": tasks that sleep for a second on a cluster with more
workers than cores; what the run takes longer than the sleep. Goal: 0.02.
"""

import importlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

import bitproof as bp
from bitproof.attacks import PGD
from bitproof.models import build_model
from bitproof.records import Cell, Record
from bitproof.runner.executor import Work
from bitproof.runner.progress import Progress
from bitproof.runner.ray import Ray
from bitproof.store import Store
from common import ratio, record, rotate

STEPS, EACH = 10, 4
"""Of the attack; tasks of a second a worker."""


@dataclass(frozen=True, kw_only=True)
class Sleep:
    """A task of one second, which needs no processor."""

    number: int

    @property
    def label(self) -> str:
        return "sleep"

    @property
    def needs(self) -> dict[str, str]:
        return {}

    @property
    def yields(self) -> dict[str, int]:
        return {f"{self.number:032x}": 1}

    def __call__(
        self, bench: Any, needed: Mapping[str, Any], missing: frozenset[str], advance: Callable[[int], None]
    ) -> list[Record]:
        time.sleep(1)
        return []

    def parts(self, count: int) -> "list[Sleep]":
        return [self]

    def joined(self, parts: Sequence[Sequence[Any]]) -> Sequence[Record]:
        return parts[0]


@contextmanager
def cluster(count: int) -> Iterator[None]:
    """One whose workers have started and imported what they need."""
    ray = importlib.import_module("ray")
    ray.init(num_cpus=count, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        slept(count, count)
        yield
    finally:
        ray.shutdown()


def slept(count: int, tasks: int) -> None:
    """Have a cluster do so many tasks of one second."""
    works = [Work(task=Sleep(number=i), wanted=frozenset(Sleep(number=i).yields)) for i in range(tasks)]
    with Store() as store, Progress(tasks, enabled=False) as bar:
        assert not list(Ray(count=count)(works, None, store, bar))


def attacked(data: bp.Data, model: torch.nn.Module, **how: Any) -> Cell:
    """The cell of an attack that breaks nothing, so that every way does the same passes."""
    attack = PGD(eps=1e-7, steps=STEPS, start="image")
    return bp.evaluate({"one": model}, data, conditions=[attack], batch_size=32, progress=False, **how).cells[-1]


def measured(count: int, data: bp.Data, model: torch.nn.Module) -> dict[str, list[float]]:
    """Seconds of a cluster of so many workers, which have the model already."""
    way = partial(attacked, data, model, executor="ray", jobs=count)
    with cluster(count):
        return rotate({f"ray {count}": way}, repeats=1, warmup=1)


def bare(count: int, images: int) -> None:
    """So many processes that do the whole work each, one thread each."""
    code = [sys.executable, __file__, "--bare", str(images)]
    started = [subprocess.Popen(code) for _ in range(count)]
    assert all(process.wait() == 0 for process in started)


def given(images: int) -> tuple[bp.Data, torch.nn.Module]:
    torch.manual_seed(0)
    model = build_model("resnet20").eval()
    pixels = np.random.default_rng(0).integers(0, 256, (images, 3, 32, 32), np.uint8)
    labels = model(torch.from_numpy(pixels).float() / 255).argmax(1).detach()
    return bp.from_arrays(pixels, labels, classes=[str(i) for i in range(10)]), model


def main() -> None:
    torch.set_num_threads(1)
    if "--bare" in sys.argv:
        attacked(*given(int(sys.argv[-1])))
        return
    images, rounds, many = (int(v) for v in [*sys.argv[1:], *("256", "3", "16")[len(sys.argv) - 1 :]])
    data, model = given(images)
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        bares = {f"bare {count}": partial(bare, count, images) for count in (1, 2)}
        now = rotate(bares, repeats=1, warmup=0) | measured(1, data, model) | measured(2, data, model)
        for name, taken in now.items():
            times.setdefault(name, []).extend(taken)
    with cluster(many):
        start = time.perf_counter()
        slept(many, EACH * many)
        longer = (time.perf_counter() - start) / EACH - 1
    claims = {
        "two workers over one": {"goal": 1.8, "measured": round(ratio(times, "ray 1", "ray 2"), 2)},
        "two bare processes over one": {"measured": round(2 * ratio(times, "bare 1", "bare 2"), 2)},
        "scheduler, of tasks of one second": {
            "goal": 0.02,
            "measured": round(longer, 3),
            "workers": many,
            "each": EACH,
        },
    }
    record("scaling", claims, {"model": "resnet20", "images": images, "attack": f"PGD-{STEPS}", "rounds": rounds})


if __name__ == "__main__":
    main()
