"""An experiment: models x conditions on one data set, and the cells it consists of."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard

from torch import nn

from bitproof import runner
from bitproof.attacks import ATTACKS, Attack
from bitproof.core.fingerprint import model_record
from bitproof.core.memory import keep_freed_memory
from bitproof.data import Data
from bitproof.deploy import OnnxModel
from bitproof.diagnosis import Diagnosis
from bitproof.errors import InputError, lookup
from bitproof.experiment.conditions import Clean, Condition, Transfer, parse_condition, record
from bitproof.experiment.crafting import CRAFTING, crafting_model
from bitproof.experiment.diagnosing import diagnose
from bitproof.experiment.environment import environment
from bitproof.experiment.evaluator import judge_attack, judge_shift, judge_transfer
from bitproof.experiment.making import Maker
from bitproof.experiment.results import Result
from bitproof.experiment.suites import conditions_of
from bitproof.quant import freeze
from bitproof.records import Cell, ConditionRecord, ModelRecord, cell_key, name_conditions
from bitproof.settings import describe, parse
from bitproof.store import Store


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A complete, immutable description of a run.

    Attributes:
        models: by name; the first one is the reference that the others are compared with. Each maps images
            [n, c, h, w] in [0, 1] to logits; none is changed.
        data: the examples.
        conditions: what the models are tested under. The clean images always come first: attacks and
            relative metrics need them.
        seed: of all randomness.
        batch_size: images a pass; results do not depend on it.
        independent: whether an attack with several budgets starts from all examples at each of them. By default
            they go in increasing order, and what a smaller budget broke counts as broken at the larger ones.
        crafting: on what attacks are made: a name in `bitproof.experiment.crafting.CRAFTING`.
        workers: processes that make images beside this one; results do not depend on them.
        diagnose: whether to look for masked gradients in each model too, see `bitproof.diagnose_masking`.
    """

    models: Mapping[str, nn.Module]
    data: Data
    conditions: tuple[Condition, ...]
    seed: int = 0
    batch_size: int = 128
    independent: bool = False
    crafting: str = "exact"
    workers: int = 0
    diagnose: bool = False

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError("no models", rule="an experiment tests at least one", remedy="Pass {name: model, ...}")
        lookup(CRAFTING, self.crafting, "way to make attacks")
        for condition in self.conditions:
            if isinstance(condition, Transfer):
                lookup(dict.fromkeys(self.models), condition.source, "source of a transfer")
        if self.batch_size < 1:
            raise InputError(
                f"batch_size is {self.batch_size}", rule="a batch holds at least one image", remedy="Use 128"
            )
        if self.workers < 0:
            raise InputError(
                f"workers is {self.workers}", rule="it is a number of processes", remedy="Use 0 to have none"
            )

    @cached_property
    def records(self) -> dict[str, ModelRecord]:
        """What each model is, by its name."""
        return {name: model_record(name, model) for name, model in self.models.items()}

    @cached_property
    def _frozen(self) -> dict[str, nn.Module]:
        return {name: freeze(model) for name, model in self.models.items()}

    @cached_property
    def _crafting(self) -> dict[str, nn.Module]:
        """What attacks see of each model."""
        if self.crafting == "exact":
            return self._frozen
        images = next(self.data.inputs(2))
        return {name: crafting_model(model, self.crafting, images) for name, model in self._frozen.items()}

    @cached_property
    def all_conditions(self) -> tuple[Condition, ...]:
        """The conditions in order, each once, the clean images first."""
        return tuple(dict.fromkeys((Clean(), *self.conditions)))

    @cached_property
    def maker(self) -> Maker:
        """Makes the images that models are tested on."""
        return Maker(data=self.data, seed=self.seed, workers=self.workers)

    def key(self, name: str, condition: Condition) -> str:
        """The content address of one cell."""
        return cell_key(self.records[name], self.record(condition), self.data.record, self.seed)

    def record(self, condition: Condition) -> ConditionRecord:
        """How the condition is stored, with the smaller budgets that it follows, or the model it comes from."""
        if isinstance(condition, Transfer):
            source = self.records[condition.source].identity  # names are not part of a key
            found = record(condition)
            return replace(found, setting={**found.setting, "source": source})
        easier = self.easier(condition)
        found = record(condition, after=None if easier is None else self.record(easier))
        if isinstance(condition, Attack) and self.crafting != "exact":
            found = replace(found, setting={**found.setting, "crafting": self.crafting})
        return found

    def easier(self, condition: Condition) -> Attack | None:
        """The same attack with the next smaller budget, where the examples that it broke are taken from it."""
        if self.independent or not isinstance(condition, Attack) or condition.eps == math.inf:
            return None
        smaller = [c for c in self.all_conditions if _differ_in_budget(c, condition) and c.eps < condition.eps]
        return max(smaller, key=lambda attack: attack.eps, default=None)

    def lacking(self, condition: Condition, missing: frozenset[str]) -> dict[str, tuple[ModelRecord, nn.Module]]:
        """The frozen models, each once, whose cells under the condition are among the missing ones."""
        models: dict[str, tuple[ModelRecord, nn.Module]] = {}
        for name in self.models:
            key = self.key(name, condition)
            if key in missing and all(key != self.key(other, condition) for other in models):
                models[name] = (self.records[name], self._frozen[name])
        return models

    def tasks(self) -> list[runner.Task]:
        """The work: one task a shift (for all models together), one a model and attack, small budgets first."""
        tasks: list[runner.Task] = []
        for condition in sorted(self.all_conditions, key=lambda c: c.eps if isinstance(c, Attack) else 0):
            if isinstance(condition, Attack):
                tasks += [AttackTask(experiment=self, attack=condition, name=name) for name in self.models]
            elif isinstance(condition, Transfer):
                tasks.append(TransferTask(experiment=self, transfer=condition))
            else:
                tasks.append(ShiftTask(experiment=self, condition=condition))
        return tasks

    def run(self, store: Store, *, progress: bool = True) -> Result:
        """Compute what the store does not hold yet, and collect the results under this experiment's names."""
        keep_freed_memory()
        with closing(self.maker):
            tally = runner.run(self.tasks(), store, environment, progress=progress)
        cells = [  # names are not part of a key: a stored cell may carry those of another experiment
            replace(store.get(self.key(name, condition)), model=self.records[name], condition=self.record(condition))
            for name in self.models
            for condition in self.all_conditions
        ]
        diagnoses: list[Diagnosis] = []
        if self.diagnose:
            models, settings = self.models, {"seed": self.seed, "batch_size": self.batch_size, "progress": progress}
            diagnoses = diagnose(models, self.records, self.data, store, **settings)
        environments = store.environments()
        return Result(
            cells=name_conditions(cells),
            reference=next(iter(self.models)),
            computed=tally.computed,
            reused=tally.reused,
            environments=[environments[run] for run in sorted({c.run for c in cells if c.run is not None})],
            diagnoses=diagnoses,
        )


@dataclass(frozen=True, kw_only=True)
class ShiftTask(runner.Task):
    """All models under one condition that does not look at the model."""

    experiment: Experiment
    condition: Condition

    @property
    def label(self) -> str:
        return self.condition.label

    @property
    def work(self) -> dict[str, int]:
        return {self.experiment.key(name, self.condition): len(self.experiment.data) for name in self.experiment.models}

    def compute(self, missing: frozenset[str], store: Store, advance: Callable[[int], None]) -> Iterable[Cell]:
        e = self.experiment
        models = e.lacking(self.condition, missing)
        assert not isinstance(self.condition, Attack | Transfer)
        return judge_shift(models, self.condition, e.maker, batch_size=e.batch_size, advance=advance)


@dataclass(frozen=True, kw_only=True)
class TransferTask(runner.Task):
    """All models under the images that an attack made on one of them."""

    experiment: Experiment
    transfer: Transfer

    @property
    def label(self) -> str:
        return self.transfer.label

    @property
    def work(self) -> dict[str, int]:
        e = self.experiment
        return {e.key(name, self.transfer): len(e.data) * (self.transfer.attack.passes + 1) for name in e.models}

    def compute(self, missing: frozenset[str], store: Store, advance: Callable[[int], None]) -> Iterable[Cell]:
        e = self.experiment
        cells = judge_transfer(
            e._frozen[self.transfer.source],
            e.lacking(self.transfer, missing),
            self.transfer,
            e.data,
            clean=store.get(e.key(self.transfer.source, Clean())),
            seed=e.seed,
            batch_size=e.batch_size,
            advance=advance,
        )
        return [replace(cell, condition=e.record(self.transfer)) for cell in cells]


@dataclass(frozen=True, kw_only=True)
class AttackTask(runner.Task):
    """One model under one attack."""

    experiment: Experiment
    attack: Attack
    name: str

    @property
    def label(self) -> str:
        return f"{self.name}: {self.attack.label}"

    @property
    def work(self) -> dict[str, int]:
        cost = len(self.experiment.data) * (self.attack.passes + 1)
        return {self.experiment.key(self.name, self.attack): cost}

    def compute(self, missing: frozenset[str], store: Store, advance: Callable[[int], None]) -> Iterable[Cell]:
        e = self.experiment
        cell = judge_attack(
            e.records[self.name],
            e._frozen[self.name],
            self.attack,
            e.data,
            after=store.get(e.key(self.name, e.easier(self.attack) or Clean())),
            crafted_on=e._crafting[self.name],
            seed=e.seed,
            batch_size=e.batch_size,
            advance=advance,
        )
        return [replace(cell, condition=e.record(self.attack))]


def evaluate(
    models: Mapping[str, nn.Module] | nn.Module,
    data: Data,
    *,
    suite: str | None = None,
    conditions: Sequence[Condition | str] | None = None,
    transfer: Sequence[Attack | str] = (),
    store: str | Path | Store | None = None,
    seed: int = 0,
    batch_size: int = 128,
    independent: bool = False,
    crafting: str = "exact",
    workers: int = 0,
    diagnose: bool = False,
    progress: bool = True,
) -> Result:
    """Test models under a suite of conditions; the main job.

    Args:
        models: by name, the first one being the reference; or a single model. Any `nn.Module` that maps
            images [n, c, h, w] in [0, 1] to logits. None is changed.
        data: the examples.
        suite: name of a suite ("quick" unless `conditions` are given), see `bitproof list suites`; or
            "released:ROOT" for all files of CIFAR-C, ImageNet-C or ImageNet-P in a folder.
        conditions: further conditions, or the only ones where no suite is named; settings, or text such as
            "pgd:eps=2/255,steps=40".
        transfer: attacks whose images, made on each of the models, are given to all of them; see
            `Result.transfer`. They do not stop at their first hit there (`Attack.to_the_end`). ONNX sessions have no
            gradients: they are sources of those attacks that only ask.
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
        diagnose: also look for masked gradients in each model, which costs about 1,000 passes an example.
        progress: show a progress bar on standard error.

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
    chosen: tuple[Condition, ...] = tuple(parse_condition(c) if isinstance(c, str) else c for c in conditions or ())
    if suite is not None or not (chosen or transfer):
        chosen = (*conditions_of(suite or "quick", data), *chosen)
    models = models if isinstance(models, Mapping) else {"model": models}
    made = (parse(attack, ATTACKS, "attack") if isinstance(attack, str) else attack for attack in transfer)
    attacks: list[Attack] = [attack.to_the_end() for attack in made]
    experiment = Experiment(
        models=models,
        data=data,
        conditions=(
            *chosen,
            *(
                Transfer(attack=attack, source=name)
                for attack in attacks
                for name, model in models.items()
                if attack.asks_only or not isinstance(model, OnnxModel)
            ),
        ),
        seed=seed,
        batch_size=batch_size,
        independent=independent,
        crafting=crafting,
        workers=workers,
        diagnose=diagnose,
    )
    if isinstance(store, Store):
        return experiment.run(store, progress=progress)
    with Store(store) as opened:
        return experiment.run(opened, progress=progress)


def _differ_in_budget(a: Condition, b: Attack) -> TypeGuard[Attack]:
    """Whether two attacks are the same but for eps."""
    return isinstance(a, Attack) and _without_eps(describe(a)) == _without_eps(describe(b))


def _without_eps(setting: dict[str, Any]) -> dict[str, Any]:
    return {k: _without_eps(v) if isinstance(v, dict) else v for k, v in setting.items() if k != "eps"}
