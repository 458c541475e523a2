"""What every explanation is: a frozen setting that is called with models and data, and gives a record."""

import abc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, final

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitproof.core.calling import plain_context
from bitproof.core.devices import sent
from bitproof.core.layout import channels_last
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.core.room import Room
from bitproof.data import Data, Read
from bitproof.errors import InputError
from bitproof.quant import freeze
from bitproof.records import Explained, ModelRecord
from bitproof.settings import describe
from bitproof.subjects import Subject

Model = nn.Module | Subject
Measure = Callable[[Tensor, Tensor, Rng], dict[str, Tensor]]
"""Images, labels and their randomness to numbers, an entry an example."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What an explanation looks at.

    Attributes:
        subjects: what it is about first.
        data: the examples.
        rng: one stream an example.
        batch_size: most images a pass; results do not depend on it.
        room: for how many there is memory.
    """

    subjects: tuple[Subject, ...]
    data: Data
    rng: Rng
    batch_size: int
    room: Room

    @cached_property
    def models(self) -> tuple[Counted, ...]:
        """The frozen models, which count their passes."""
        first = next(self.data.inputs(2))
        return tuple(
            Counted(channels_last(freeze(subject.model), sent(first, subject.device))) for subject in self.subjects
        )

    @property
    def device(self) -> torch.device:
        """Where the first model computes."""
        return self.subjects[0].device

    def batches(self, most: int | None = None) -> Iterator[tuple[Tensor, Tensor, Rng]]:
        """Images, labels and randomness of all examples that can be read, `most` at a time."""
        size = most or self.batch_size
        for start in range(0, len(self.data), size):
            read = self.data.read(range(start, min(start + size, len(self.data))))
            if len(read.rows):
                yield self._batch(read, slice(None))

    def over(self, measure: Measure) -> dict[str, NDArray[Any]]:
        """What `measure` finds in all batches, put together."""
        parts: list[dict[str, Tensor]] = []
        for start in range(0, len(self.data), self.batch_size):
            read = self.data.read(range(start, min(start + self.batch_size, len(self.data))))
            if len(read.rows):
                parts += self.room.fit(partial(self._measured, measure, read))
        return {key: torch.cat([part[key] for part in parts]).cpu().numpy() for key in parts[0]}

    def _measured(self, measure: Measure, read: Read, most: int) -> list[dict[str, Tensor]]:
        return [measure(*self._batch(read, slice(start, start + most))) for start in range(0, len(read.rows), most)]

    def _batch(self, read: Read, part: slice) -> tuple[Tensor, Tensor, Rng]:
        rows = read.rows[part]
        labels = torch.from_numpy(self.data.labels[rows]).to(self.device)
        return sent(read.images[part], self.device), labels, self.rng.select(rows)


class Explanation(abc.ABC):
    """A frozen setting that looks for a reason why models answer as they do.

    Attributes:
        record: the class of what it finds.
    """

    record: ClassVar[type[Explained]]

    @final
    @plain_context()
    def __call__(
        self, models: Mapping[str, Model], data: Data, *, seed: int = 0, rng: Rng | None = None, batch_size: int = 128
    ) -> Any:
        """Look at the models; none is changed.

        Args:
            models: by name, what the explanation is about first.
            data: the examples.
            seed: of all randomness.
            rng: one stream an example, as in `bp.Rng(0, data.ids)`; instead of a seed.
            batch_size: most images a pass; the result does not depend on it but by rounding.

        Raises:
            InputError: models that this has nothing to say of, or no examples.
        """
        start = time.perf_counter()
        rng = Rng.of_run(seed, rng) if rng is not None else Rng(Rng.of(seed).seed, data.ids)
        if not models or not len(data) or len(rng) != len(data):
            raise InputError(
                f"{len(models)} models, {len(data)} examples and randomness for {len(rng)}",
                rule="an explanation is of at least one model, on examples with a stream of randomness each",
                remedy="Pass {name: model, ...} and data; an rng is bp.Rng(0, data.ids)",
            )
        subjects = {name: Subject.of(model) for name, model in models.items()}
        records = tuple(subject.record(name) for name, subject in subjects.items())
        named = Rng(rng.seed, rng.ids, (*rng.path, self.record.KIND))
        room = Room(batch_size)
        case = Case(subjects=tuple(subjects.values()), data=data, rng=named, batch_size=batch_size, room=room)
        found = self.look(case)
        counted = case.models if "models" in vars(case) else ()
        forwards = found.pop("forwards", 0) + sum(model.forwards for model in counted)
        backwards = found.pop("backwards", 0) + sum(model.backwards for model in counted)
        return self.record(
            model=records[0],
            others=records[1:],
            data=data.record,
            seed=rng.seed,
            setting=self.described,
            forwards=float(forwards),
            backwards=backwards,
            seconds=time.perf_counter() - start,
            **found,
        )

    @property
    def described(self) -> dict[str, Any]:
        """As plain data, a part of the record's key."""
        return describe(self, sources=True)

    @abc.abstractmethod
    def groups(self, models: Sequence[ModelRecord]) -> list[tuple[ModelRecord, ...]]:
        """The models of each record that an experiment makes: of one, or of one and its float twin, or of all.

        Args:
            models: of the experiment, the reference first.
        """

    @abc.abstractmethod
    def passes(self, models: Sequence[ModelRecord]) -> int:
        """About how many an example costs, for progress bars."""

    @abc.abstractmethod
    def look(self, case: Case) -> dict[str, Any]:
        """The fields of the record that are its own, and "forwards" and "backwards" that the case's models did not
        count."""


def quantized(models: Sequence[ModelRecord], *, act: bool = False) -> list[tuple[ModelRecord, ...]]:
    """Each quantized model, with the float reference behind it where there is one; with `act` those alone whose
    activations are quantized."""
    twin = models[:1] if models and models[0].is_float else ()
    return [
        (model, *twin)
        for model in models
        if model.scheme is not None and not model.is_float and model.gradients and (model.act_bits < 32 or not act)
    ]


def each(models: Sequence[ModelRecord]) -> list[tuple[ModelRecord, ...]]:
    """Each model whose gradients can be followed."""
    return [(model,) for model in models if model.gradients]
