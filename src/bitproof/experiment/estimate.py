"""What a run would do, before it is done: its tasks, their passes, and about how long they take."""

import time
from dataclasses import dataclass

import torch

from bitproof.core.calling import device_of
from bitproof.experiment.apart import told_apart
from bitproof.experiment.experiment import Experiment
from bitproof.store import Store


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One task: what is done, how many results it gives that are missing, and its cost in passes."""

    label: str
    results: int
    passes: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run would do.

    Attributes:
        tasks: those with anything to do.
        reused: results that the store holds.
        seconds: of all passes, each as long as one of a measured batch through one of the models; making images and
            more than one process at once are not counted.
        measured: seconds a pass, the mean over the models.
    """

    tasks: tuple[Planned, ...]
    reused: int
    seconds: float
    measured: float

    @property
    def passes(self) -> int:
        """Of all tasks."""
        return sum(task.passes for task in self.tasks)


def estimate(experiment: Experiment, store: Store) -> Estimate:
    """What a run of the experiment against this store would do. Nothing is written.

    One batch goes through each model, twice, of which the second is measured.
    """
    with experiment.bench() as bench:
        plan = experiment.plan(bench, told_apart(bench, store))
        missing = store.missing({key for task in plan for key in task.yields})
        tasks = [
            Planned(
                label=task.label,
                results=len(missing & task.yields.keys()),
                passes=sum(cost for key, cost in task.yields.items() if key in missing),
            )
            for task in plan
        ]
        images = next(experiment.data.inputs(experiment.batch_size))
        times = [_seconds(model, images.to(device_of(model))) for model in bench.exact.values()] if missing else [0.0]
    measured = sum(times) / len(times)
    work = tuple(task for task in tasks if task.results)
    return Estimate(
        tasks=work,
        reused=sum(len(task.yields) for task in plan) - sum(task.results for task in work),
        seconds=measured * sum(task.passes for task in work),
        measured=measured,
    )


@torch.no_grad()
def _seconds(model: torch.nn.Module, images: torch.Tensor) -> float:
    """Of a pass: one image through the model, in a batch."""
    model(images)
    start = time.perf_counter()
    model(images)
    return (time.perf_counter() - start) / len(images)
