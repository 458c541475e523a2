"""Running a plan against a store."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bitproof.records import Record
from bitproof.runner.executor import Executor, Work, here
from bitproof.runner.progress import Progress
from bitproof.runner.task import Task
from bitproof.store import Store


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How much of a run was new.

    Attributes:
        computed: records that this run computed.
        reused: records that the store held already.
        damaged: those of the computed ones that the store held, but damaged, by key, and why.
    """

    computed: int
    reused: int
    damaged: Mapping[str, str] = field(default_factory=dict)


def run(
    plan: Sequence[Task],
    bench: Any,
    store: Store,
    environment: Callable[[], dict[str, Any]],
    *,
    executor: Executor = here,
    progress: bool,
    on_record: Callable[[Record], None] | None = None,
) -> Tally:
    """Compute and store what is missing; each record is written as soon as it is complete.

    Args:
        plan: what the experiment consists of, in the order in which it is wished for; what a task needs comes first
            all the same.
        bench: what tasks work with.
        store: where records are looked up and written.
        environment: what the run is done on; asked and noted only if there is anything to compute.
        executor: where the tasks are done.
        progress: show a bar with what is being done and how long is left.
        on_record: told of each record once it is stored.
    """
    keys = {key for task in plan for key in task.yields}
    missing = store.missing(keys)
    if not missing:
        return Tally(computed=0, reused=len(keys))
    damaged = {key: reason for key, reason in store.damaged.items() if key in missing}
    number = store.begin_run(environment())
    works = [Work(task=task, wanted=frozenset(missing & task.yields.keys())) for task in in_order(plan)]
    works = [work for work in works if work.wanted]
    computed = 0
    with Progress(sum(work.cost for work in works), enabled=progress) as bar:
        for record in executor(works, bench, store, bar):
            store.append(record, number)
            if on_record is not None:
                on_record(record)
            computed += 1
    unmade = store.missing(missing) if computed < len(missing) else ()  # what analyses had nothing to say of
    return Tally(computed=computed, reused=len(keys) - computed - len(unmade), damaged=damaged)


def in_order(plan: Sequence[Task]) -> Iterator[Task]:
    """The tasks, each after those that yield what it needs, and else in the order of the plan."""
    makers = {key: task for task in plan for key in task.yields}
    begun: set[int] = set()

    def with_needs(task: Task) -> Iterator[Task]:
        if id(task) in begun:
            return
        begun.add(id(task))
        for key in task.needs.values():
            if key in makers:
                yield from with_needs(makers[key])
        yield task

    for task in plan:
        yield from with_needs(task)
