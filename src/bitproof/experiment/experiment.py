"""An experiment: models x conditions on one data set, and the records it consists of."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from bitproof import runner
from bitproof.analysis import Explanation
from bitproof.attacks import Attack
from bitproof.conditions import Clean, Condition, Crafted, as_condition, as_crafted, check_names, with_adaptive
from bitproof.conditions.suites import conditions_of
from bitproof.conditions.targets import RULES, class_number
from bitproof.core.calling import plain_context
from bitproof.core.defended import defended
from bitproof.core.devices import device_named, of_workers
from bitproof.core.memory import keep_freed_memory
from bitproof.data import Data
from bitproof.errors import InputError, lookup
from bitproof.experiment.analyses import Analysis, Masking, as_analysis
from bitproof.experiment.apart import told_apart
from bitproof.experiment.environment import environment
from bitproof.experiment.results import Result
from bitproof.experiment.settled import settled
from bitproof.judging import CRAFTING, Bench, JudgeTask, Maker, Unseen, first_look, look_behind
from bitproof.records import ConditionRecord, ModelRecord, Record, cell_key, name_conditions
from bitproof.settings import describe, digest
from bitproof.shifts.universal import Perturbation, Sticker
from bitproof.store import Store
from bitproof.subjects import Subject

Model = nn.Module | Subject | Callable[[Tensor], Tensor]
"""What can be tested: a module or session, one with what is known of it, or a plain function of images."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A complete, immutable description of a run.

    Attributes:
        models: by name; the first one is the reference that the others are compared with. Each maps images
            [n, c, h, w] in [0, 1] to logits; none is changed.
        data: the examples.
        conditions: what the models are tested under. The clean images always come first: attacks and
            relative metrics need them.
        analyses: how they are looked at beside that.
        seed: of all randomness.
        batch_size: images a pass; results do not depend on it, unless those of a model do (`ModelRecord.of_batch`).
        independent: whether an attack with several budgets starts from all examples at each of them. By default
            they go in increasing order, and what a smaller budget broke counts as broken at the larger ones.
        crafting: on what attacks are made, one of `bitproof.judging.CRAFTING`.
        workers: processes that make images beside this one; results do not depend on them.
        jobs: tasks (a shift for all models, an attack on one) done at once, each by a process of its own; 1 does
            them here.
        executor: what does them, a name in `bitproof.runner.EXECUTORS`.
        address: of a Ray cluster that is there, such as "auto"; None = this machine.
        device: where models are tested, a name that `bitproof.core.devices.device_named` takes; None = where each one
            is. What is elsewhere is tested as a copy. "cuda" gives each job one of all CUDA devices in turn.
    """

    models: Mapping[str, Model]
    data: Data
    conditions: tuple[Condition | Attack, ...]
    analyses: tuple[Analysis, ...] = ()
    seed: int = 0
    batch_size: int = 128
    independent: bool = False
    crafting: str = "exact"
    workers: int = 0
    jobs: int = 1
    executor: str = "processes"
    address: str | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError("no models", rule="an experiment tests at least one", remedy="Pass {name: model, ...}")
        lookup(CRAFTING, self.crafting, "way to make attacks")
        if len(self.models) < 2 and any(isinstance(c, Crafted) and c.keeps for c in self.all_conditions):
            raise InputError(
                f"an attack beside {next(iter(self.models))!r}, the only model",
                rule="it deceives one model and not another",
                remedy="Add a quantized copy (--scheme w4a4, say)",
            )
        for condition in self.all_conditions:
            check_names(condition, self.models, self.data.classes)
        if self.batch_size < 1:
            raise InputError(
                f"batch_size is {self.batch_size}", rule="a batch holds at least one image", remedy="Use 128"
            )
        if self.workers < 0:
            raise InputError(
                f"workers is {self.workers}", rule="it is a number of processes", remedy="Use 0 to have none"
            )
        if self.jobs < 1 or (self.jobs > 1 and self.workers):
            raise InputError(
                f"jobs is {self.jobs}" + f" and workers is {self.workers}" * (self.jobs > 0),
                rule="it is a number of tasks at once, of which each makes its images itself",
                remedy="Use jobs=1 (to do one after the other), or workers=0",
            )
        lookup(runner.EXECUTORS, self.executor, "executor")
        if self.address is not None and self.executor != "ray":
            raise InputError(
                f"address is {self.address!r} and executor is {self.executor!r}",
                rule="an address is that of a Ray cluster",
                remedy="Use executor='ray', or leave the address out",
            )
        if self.device is not None:
            device_named(self.device)  # checks it
        if not -(2**63) <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}", rule="it is a whole number of 64 bits", remedy="Use 0")

    @cached_property
    def all_conditions(self) -> tuple[Condition, ...]:
        """The conditions in order, each once, the clean images first; where a model is defended, with the attacks that
        know of its defence (`conditions.with_adaptive`). Those on one model beside another name that one."""
        first = next(iter(self.models))
        given = [_kept(as_condition(c), first) for c in (Clean(), *self.conditions)]
        behind = [model for model in self.models.values() if defended(_bare(model)) is not None]
        if behind:
            given = with_adaptive(given, gradients=all(Subject.of(model).gradients for model in behind))
        return tuple({digest(describe(c, sources=True)): c for c in given}.values())

    def bench(self) -> Bench:
        """What a run works with; closed after it."""
        return Bench(
            subjects={name: Subject.of(model).on(self.device) for name, model in self.models.items()},
            maker=Maker(data=self.data, seed=self.seed, workers=self.workers),
            batch_size=self.batch_size,
            crafting=self.crafting,
        )

    def plan(self, bench: Bench, models: Mapping[str, ModelRecord]) -> list[runner.Task]:
        """The work: one task a shift (for all models together), one a model and attack, small budgets first.

        Args:
            bench: of this experiment.
            models: what the models are, see `told_apart`.
        """
        tasks: list[runner.Task] = []
        for condition in sorted(self.all_conditions, key=lambda c: c.attack.eps if isinstance(c, Crafted) else 0):
            if isinstance(condition, Crafted) and condition.source is None:
                tasks += [
                    self._attack(bench, condition, name, models) for name in models if self._tests(name, condition)
                ]
            else:
                needs = {}
                if isinstance(condition, Crafted) and condition.source:
                    needs["clean"] = self.key(models[condition.source], Clean(), models)
                about = self.record(condition, models)
                make = JudgeTask.of(condition, about, models, label=condition.label, bench=bench, needs=needs)
                tasks.append(make)
        return [*tasks, *(task for analysis in self.analyses for task in analysis.tasks(bench, models))]

    def _tests(self, name: str, condition: Condition) -> bool:
        """Whether a model is tested under a condition: all are, but under an attack that leaves its answers alone."""
        return not (isinstance(condition, Crafted) and condition.source is None and condition.keeps == name)

    def _attack(self, bench: Bench, condition: Crafted, name: str, models: Mapping[str, ModelRecord]) -> runner.Task:
        record = models[name]
        needs = {"clean": self.key(record, Clean(), models)}
        if condition.keeps is not None:
            needs["kept"] = self.key(models[condition.keeps], Clean(), models)
        if (easier := self.easier(condition)) is not None:
            needs["after"] = self.key(record, easier, models)
        plain = condition.attack.undefended
        behind = defended(_bare(self.models[name]))
        if plain is not None and (behind is None or behind.view is None):
            same = replace(condition, attack=plain)
            if same in self.all_conditions:
                needs = {"same": self.key(record, same, models)}
        about = self.record(condition, models)
        label = f"{name}: {condition.label}"
        return JudgeTask.of(condition, about, {name: record}, label=label, bench=bench, needs=needs)

    def key(self, model: ModelRecord, condition: Condition, models: Mapping[str, ModelRecord]) -> str:
        """The content address of one cell."""
        return cell_key(model, self.record(condition, models), self.data.record, self.seed)

    def record(self, condition: Condition, models: Mapping[str, ModelRecord]) -> ConditionRecord:
        """How the condition is stored, with all that its result depends on."""
        found, how = condition.record(), dict[str, Any]()
        if isinstance(condition, Crafted):
            if (easier := self.easier(condition)) is not None:
                before = self.record(easier, models)
                how["after"] = {**before.setting, **before.how}
            if condition.source:
                how["source"] = models[condition.source].identity  # names are not part of a key
            elif self.crafting != "exact":
                how["crafting"] = self.crafting
            if condition.keeps:
                how["keeps"] = models[condition.keeps].identity
            if found.targets is not None and found.targets not in RULES:  # two data sets may name their classes alike
                how["target"] = class_number(found.targets, self.data.classes)
        return replace(found, how={**found.how, **how})

    def easier(self, condition: Condition) -> Crafted | None:
        """The same attack with the next smaller budget, where the examples that it broke are taken from it."""
        if self.independent or not isinstance(condition, Crafted) or condition.source:
            return None
        eps = condition.attack.eps
        smaller = [c for c in self.all_conditions if condition.differs_in_budget(c) and c.attack.eps < eps < np.inf]  # pyright: ignore
        return max(smaller, key=lambda c: c.attack.eps, default=None)  # pyright: ignore

    @plain_context()
    def run(self, store: Store, *, progress: bool = True, on_record: Callable[[Record], None] | None = None) -> Result:
        """Compute what the store does not hold yet, and collect the results under this experiment's names."""
        keep_freed_memory()
        with self.bench() as bench, settled(self.all_conditions):
            models = told_apart(bench, store)
            self._look(bench, models, store)
            plan = self.plan(bench, models)
            used = {subject.device for subject in bench.subjects.values()}
            about = partial(environment, used | {*of_workers(self.device, self.jobs)} if self.jobs > 1 else used)
            tally = runner.run(
                plan, bench, store, about, executor=self._executor, progress=progress, on_record=on_record
            )
        files = self.data.files_by_id()
        if files and tally.computed:
            store.keep_files(self.data.fingerprint, files)
        cells = [  # names are not part of a key: a stored cell may carry those of another experiment
            replace(
                store.get(self.key(model, condition, models)), model=model, condition=self.record(condition, models)
            )
            for model in models.values()
            for condition in self.all_conditions
            if self._tests(model.name, condition)
        ]
        judged = {cell.key for cell in cells}
        names = {digest(model.identity): model for model in reversed(models.values())}
        looked_at = [key for task in plan for key in task.yields if key not in judged]
        lacking = store.missing(looked_at)  # those of analyses that had nothing to say
        others = [store.get(key) for key in looked_at if key not in lacking]
        others = [replace(record, model=names[digest(record.model.identity)]) for record in others]
        environments = store.environments()
        runs = {record.run for record in (*cells, *others) if record.run is not None}
        return Result(
            records=[*name_conditions(cells), *others],
            reference=next(iter(self.models)),
            computed=tally.computed,
            reused=tally.reused,
            damaged=tally.damaged,
            environments=[environments[run] for run in sorted(runs) if run in environments],
            files={self.data.fingerprint: files} if files else {},
        )

    @property
    def _executor(self) -> runner.Executor:
        if self.executor == "ray":
            return runner.Ray(count=self.jobs, address=self.address)
        if self.executor != "processes":
            return runner.EXECUTORS[self.executor](count=self.jobs)
        if self.jobs == 1:
            return runner.here
        return runner.Processes(count=self.jobs, devices=of_workers(self.device, self.jobs))

    def _look(self, bench: Bench, models: Mapping[str, ModelRecord], store: Store) -> None:
        """Warn of models that seem to be used wrongly, before any work is done on them: of float ones and of files, and
        of what is wrong with a defence.

        What was quantized here gets the images that its float model gets.

        Raises:
            InputError: a defence whose thresholds were chosen on these images, or a change for all images that was
                made on them.
        """
        unseen = Unseen(self.data)
        for condition in (c for c in self.all_conditions if isinstance(c, (Perturbation, Sticker))):
            if store.missing([self.key(model, condition, models) for model in models.values()]):
                remedy = "Make it on other images, such as bp.load_data(..., split='train')"
                unseen.check(np.array(condition.seen, np.int64), f"{condition.label} was made on", remedy)
        for name, model in models.items():
            if (behind := defended(bench.exact[name])) and store.missing([self.key(model, Clean(), models)]):
                for finding in look_behind(behind, unseen, name):
                    warnings.warn(finding, stacklevel=3)
            if model.coverage is None and store.missing([self.key(model, Clean(), models)]):
                for finding in first_look(bench.exact[name], self.data, name, batch_size=self.batch_size):
                    warnings.warn(finding, stacklevel=3)


def _kept(condition: Condition, first: str) -> Condition:
    """The condition, with the first model named where it leaves the answers of one as they are."""
    if not isinstance(condition, Crafted) or not condition.attack.beside or condition.keeps is not None:
        return condition
    return replace(condition, keeps=first)


def _bare(model: Model) -> Any:
    """The model itself, without what is known of it."""
    return model.model if isinstance(model, Subject) else model


def evaluate(
    models: Mapping[str, Model] | Model,
    data: Data,
    *,
    suite: str | None = None,
    conditions: Sequence[Condition | Attack | str] | None = None,
    transfer: Sequence[Attack | Crafted | str] = (),
    store: str | Path | Store | None = None,
    seed: int = 0,
    batch_size: int = 128,
    independent: bool = False,
    crafting: str = "exact",
    workers: int = 0,
    jobs: int = 1,
    executor: str = "processes",
    address: str | None = None,
    device: str | None = None,
    diagnose: bool = False,
    analyses: Sequence[Analysis | Explanation | str] = (),
    progress: bool = True,
    on_record: Callable[[Record], None] | None = None,
) -> Result:
    """Test models under a suite of conditions; the main job.

    Args:
        models: by name, the first one being the reference; or a single model. Any `nn.Module`, session or function
            that maps images [n, c, h, w] in [0, 1] to logits. None is changed.
        data: the examples.
        suite: name of a suite ("quick" unless `conditions` are given), see `bitproof list suites`; or
            "released:ROOT" for all files of CIFAR-C, ImageNet-C or ImageNet-P in a folder.
        conditions: further conditions, or the only ones where no suite is named; settings, or text such as
            "pgd:eps=2/255,steps=40" or "crafted:attack=pgd(eps=2/255),targets=next".
        transfer: attacks whose images, made on each of the models (or on the `source` that `Crafted` names), are given
            to all of them; see `Result.transfer`. They do not stop at their first hit there (`Attack.to_the_end`).
            ONNX sessions have no gradients: they are sources of those attacks that only ask.
        store: a file (or an open store) where results are kept and found again: a second call computes
            only what is missing. None keeps them in memory.
        seed: of all randomness.
        batch_size: images a pass; results do not depend on it.
        independent: attack all examples at every budget. By default an attack with several budgets goes from the
            smallest on, and what that broke counts as broken at the larger ones.
        crafting: "exact" makes attacks on the model itself; "folded" and "bfloat16" on a faster one that answers
            almost the same. What counts is predicted on the model itself.
        workers: processes that make images (decode, resize, corrupt) beside this one; results do not depend on
            them. Scripts that use them need the guard `if __name__ == "__main__":`.
        jobs: tasks (a shift for all models, an attack on one) done at once, each by a process of its own with its
            share of the cores; needs the same guard. Results are those of a run with as many threads as each gets.
        executor: what does the tasks: "processes" on this machine, or "ray", a Ray cluster with `jobs` processors that
            is started here, or the one at `address`.
        address: of a Ray cluster that is there: "auto", or host and port.
        device: where models are tested: "cpu", "cuda", "cuda:1", "mps", or "auto" for the first CUDA device where there
            is one; None = where each model is. Float32 is computed exactly there (no TF32), and a batch that its memory
            does not hold is halved. With jobs, "cuda" gives each one of all CUDA devices in turn.
        diagnose: also look for masked gradients in each model, which costs about 1,000 passes an example.
        analyses: other ways to look at the models: settings of `bitproof.analysis`, their text such as "layers" or
            "amplification:eps=1/255+8/255" (see `bitproof list analyses`), or an `Analysis` of your own; their records
            are stored and reported beside the results.
        progress: show a progress bar on standard error.
        on_record: told of each new result once it is stored, for loggers; see `examples/loggers.py`.

    Returns:
        The result: tables, metrics, report, and every example's prediction.

    Raises:
        InputError: an unknown suite, images or labels that do not fit, a store that cannot be used.

    Example:
        >>> import bitproof as bp
        >>> data = bp.load_data("digits", limit=32)
        >>> result = bp.evaluate(bp.load_model("digits_cnn"), data, suite="clean", progress=False)
        >>> len(result.table())
        1
    """
    experiment = experiment_of(
        models,
        data,
        suite=suite,
        conditions=conditions,
        transfer=transfer,
        analyses=(*map(as_analysis, analyses), *((Masking(),) if diagnose else ())),
        seed=seed,
        batch_size=batch_size,
        independent=independent,
        crafting=crafting,
        workers=workers,
        jobs=jobs,
        executor=executor,
        address=address,
        device=device,
    )
    if isinstance(store, Store):
        return experiment.run(store, progress=progress, on_record=on_record)
    with Store(store) as opened:
        return experiment.run(opened, progress=progress, on_record=on_record)


def experiment_of(
    models: Mapping[str, Model] | Model,
    data: Data,
    *,
    suite: str | None = None,
    conditions: Sequence[Condition | Attack | str] | None = None,
    transfer: Sequence[Attack | Crafted | str] = (),
    **settings: Any,
) -> Experiment:
    """The experiment that `evaluate` runs; `settings` are fields of `Experiment`."""
    chosen = [as_condition(c) for c in conditions or ()]
    if suite is not None or not (chosen or transfer):
        chosen = [*conditions_of("quick" if suite is None else suite, data), *chosen]
    models = models if isinstance(models, Mapping) else {"model": models}
    shown = [replace(made, attack=made.attack.to_the_end()) for made in map(as_crafted, transfer)]
    return Experiment(
        models=models,
        data=data,
        conditions=(
            *chosen,
            *(
                replace(made, source=name)
                for made in shown
                for name, model in models.items()
                if made.source in (None, name) and (made.attack.asks_only or Subject.of(model).gradients)
                if not made.attack.beside or name != (made.keeps or next(iter(models)))
            ),
        ),
        **settings,
    )
