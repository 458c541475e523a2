"""Analyses as parts of an experiment: their records are stored, found again and reported beside the cells."""

import abc
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bitproof.analysis import EXPLANATIONS, Explanation, diagnose_masking
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.judging import Bench
from bitproof.records import Diagnosis, Explained, ModelRecord, Record, diagnosis_key, explanation_key
from bitproof.runner import Task
from bitproof.settings import parse


class Analysis(abc.ABC):
    """A setting that looks at models in another way than under conditions."""

    @abc.abstractmethod
    def tasks(self, bench: Bench, models: Mapping[str, ModelRecord]) -> Sequence[Task]:
        """What there is to be done for the models of an experiment, the reference first."""


@dataclass(frozen=True, kw_only=True)
class OneRecord(abc.ABC):
    """What the tasks of analyses have in common: each makes one record, of models as they are.

    Attributes:
        label: short form for people.
        key: of the record.
        cost: in passes, about.
    """

    label: str
    key: str
    cost: int

    @property
    def needs(self) -> dict[str, str]:
        return {}

    @property
    def yields(self) -> dict[str, int]:
        return {self.key: self.cost}

    @abc.abstractmethod
    def __call__(
        self, bench: Bench, needed: Mapping[str, Any], missing: frozenset[str], advance: Callable[[int], None]
    ) -> Iterable[Record]: ...

    def parts(self, count: int) -> Sequence[Task]:
        return [self]

    def joined(self, parts: Sequence[Sequence[Any]]) -> Sequence[Record]:
        return parts[0]


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
        label = f"{model.name}: masked gradients"
        return MaskingTask(how=self, model=model, twin=twin, label=label, key=key, cost=cost)


@dataclass(frozen=True, kw_only=True)
class MaskingTask(OneRecord):
    """One model's diagnosis."""

    how: Masking
    model: ModelRecord
    twin: ModelRecord | None

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


@dataclass(frozen=True, kw_only=True)
class Explaining(Analysis):
    """An explanation of all models of an experiment that it has something to say of."""

    how: Explanation

    def tasks(self, bench: Bench, models: Mapping[str, ModelRecord]) -> Sequence[Task]:
        groups = self.how.groups(list(models.values()))
        if not groups:
            raise InputError(
                f"{type(self.how).__name__} has none of {', '.join(models)} to explain",
                rule="layers, shift and sharpness look at quantized models, shift at their float reference too, "
                "alignment and agreement at two models or more, and all at models with gradients",
                remedy="Add --scheme w4a4, say, or pass a quantized copy",
            )
        return [self._task(bench, group) for group in groups]

    def _task(self, bench: Bench, group: tuple[ModelRecord, ...]) -> "ExplainingTask":
        kind, setting = self.how.record.KIND, self.how.described
        return ExplainingTask(
            how=self.how,
            models=group,
            label=f"{group[0].name}: {kind}",
            key=explanation_key(kind, group, bench.data.record, bench.seed, setting),
            cost=len(bench.data) * self.how.passes(group),
        )


@dataclass(frozen=True, kw_only=True)
class ExplainingTask(OneRecord):
    """One record of an explanation: of one model, with the others that it takes; none, and a warning, where it turns
    out to have nothing to say of them."""

    how: Explanation
    models: tuple[ModelRecord, ...]

    def __call__(
        self, bench: Bench, needed: Mapping[str, Any], missing: frozenset[str], advance: Callable[[int], None]
    ) -> Iterable[Explained]:
        subjects = {model.name: bench.subjects[model.name] for model in self.models}
        try:
            found = self.how(subjects, bench.data, rng=Rng(bench.seed, bench.data.ids), batch_size=bench.batch_size)
        except InputError as error:  # which no other result of the run depends on
            warnings.warn(f"{self.label} is left out: {error}", stacklevel=2)
            found = None
        advance(self.cost)
        if found is None:
            return []
        return [replace(found, model=self.models[0], others=self.models[1:])]


ANALYSES: Mapping[str, Callable[..., Analysis | Explanation]] = {"masking": Masking, **EXPLANATIONS}
"""By the names that `--analysis` takes."""


def as_analysis(given: Analysis | Explanation | str) -> Analysis:
    """An analysis from what one is written as.

    Raises:
        InputError: a text that names none, or something else.
    """
    made = parse(given, ANALYSES, "analysis") if isinstance(given, str) else given
    if isinstance(made, Explanation):
        return Explaining(how=made)
    if not isinstance(made, Analysis):
        raise InputError(
            f"{made!r} as an analysis",
            rule="it is a setting of bitproof.analysis, one of your own that derives from Analysis, or the text of one",
            remedy="Use 'layers', 'alignment', 'amplification' or another of `bitproof list analyses`",
        )
    return made
