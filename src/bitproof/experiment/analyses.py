"""Analyses as parts of an experiment: their records are stored, found again and reported beside the cells."""

import abc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bitproof.analysis import diagnose_masking
from bitproof.judging import Bench
from bitproof.records import Diagnosis, ModelRecord, diagnosis_key
from bitproof.runner import Task


class Analysis(abc.ABC):
    """A setting that looks at models in another way than under conditions."""

    @abc.abstractmethod
    def tasks(self, bench: Bench, models: Mapping[str, ModelRecord]) -> Sequence[Task]:
        """What there is to be done for the models of an experiment, the reference first."""


@dataclass(frozen=True, kw_only=True)
class Masking(Analysis):
    """The diagnosis of masked gradients, see `bitproof.diagnose_masking` for the fields.

    Models without gradients are left out; a first model that is float is the twin of the others.
    """

    eps: float | None = None
    steps: int = 20
    queries: int = 1000
    draws: int = 50
    directions: int = 16

    def tasks(self, bench: Bench, models: Mapping[str, ModelRecord]) -> Sequence[Task]:
        first = next(iter(models.values()))
        twin = first if first.gradients and first.scheme is None else None
        asked = [record for record in models.values() if record.gradients]
        return [self._task(bench, record, twin if record is not twin else None) for record in asked]

    def _task(self, bench: Bench, model: ModelRecord, twin: ModelRecord | None) -> "MaskingTask":
        key = diagnosis_key(model, twin, bench.data.record, bench.seed, vars(self))
        cost = len(bench.data) * (5 * self.steps + self.queries + self.draws + 2 * self.directions + 40)
        return MaskingTask(how=self, model=model, twin=twin, key=key, cost=cost)


@dataclass(frozen=True, kw_only=True)
class MaskingTask:
    """One model's diagnosis."""

    how: Masking
    model: ModelRecord
    twin: ModelRecord | None
    key: str
    cost: int

    @property
    def label(self) -> str:
        return f"{self.model.name}: masked gradients"

    @property
    def needs(self) -> dict[str, str]:
        return {}

    @property
    def yields(self) -> dict[str, int]:
        return {self.key: self.cost}

    def __call__(
        self, bench: Bench, needed: Mapping[str, Any], missing: frozenset[str], advance: Callable[[int], None]
    ) -> Iterable[Diagnosis]:
        found = diagnose_masking(
            bench.exact[self.model.name],
            bench.data,
            twin=bench.exact[self.twin.name] if self.twin else None,
            seed=bench.seed,
            batch_size=bench.batch_size,
            name=self.model.name,
            **vars(self.how),
        )
        advance(self.cost)
        return [replace(found, model=self.model, twin=self.twin)]
