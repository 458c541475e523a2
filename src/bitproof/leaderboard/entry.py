"""An entry: one model on one data set, with what it got right under each condition, example by example.

It comes from records of a store, or from a submission; the board is a function of entries alone. As it says which
examples are right, entries of different people are compared by paired tests.
"""

import base64
import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool

from bitproof.records import Cell, ConditionRecord, DataRecord, Diagnosis, ModelRecord, Record, name_conditions
from bitproof.settings import digest

ABOUT = ("bitproof", "commit", "dirty", "repository", "python", "packages", "processor", "instruction_set", "command")
"""What an entry says of the environment of its run."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What is right under one condition.

    Attributes:
        condition: under what.
        right: a bit an example in the order of their ids, packed with the first in the highest bit, as base64.
    """

    condition: ConditionRecord
    right: str

    def correct(self, n: int) -> Bool[np.ndarray, " n"]:
        """The same as bool [n]."""
        return np.unpackbits(np.frombuffer(base64.b64decode(self.right), np.uint8), count=n).astype(bool)

    @property
    def key(self) -> str:
        """What makes the condition another one, whatever budgets were tried before it."""
        c = self.condition
        how = {name: value for name, value in c.how.items() if name != "after"}
        return "clean" if c.kind == "clean" else digest(c.kind, c.setting, how, c.targets)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model on one data set.

    Attributes:
        model, data, seed: what was tested, on what, with which randomness.
        examples: hash of the ids and labels; entries of equal ones are compared example by example.
        n: number of examples.
        scores: one a condition, the clean one first.
        baseline: fingerprint of the float model that it is compared with; None = it is one, or there is none.
        masked, masking: whether its gradients are masked, and the diagnosis in words; None and "" = not looked at.
        environment: of the run, see `ABOUT`.
        date: of the run, ISO 8601.
    """

    model: ModelRecord
    data: DataRecord
    seed: int
    examples: str
    n: int
    scores: tuple[Score, ...]
    baseline: str | None = None
    masked: bool | None = None
    masking: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    date: str = ""

    @property
    def identity(self) -> str:
        """What two entries share that are about one thing."""
        return digest(self.model.fingerprint, self.data.fingerprint, self.examples, self.seed)

    @cached_property
    def correct(self) -> dict[str, Bool[np.ndarray, " n"]]:
        """What is right, by the key of the condition."""
        return {score.key: score.correct(self.n) for score in self.scores}

    @property
    def method(self) -> str:
        """How it is quantized, in a word."""
        method = (self.model.scheme or {}).get("method")
        if isinstance(method, Mapping):
            return str(method.get("type"))
        return "float" if self.model.is_float else "other"

    @property
    def architecture(self) -> str:
        """Of the model, as far as it is known."""
        return self.model.architecture or "other"


def entries(
    found: Sequence[Record], environments: Mapping[int, dict[str, Any]], started: Mapping[int, float]
) -> list[Entry]:
    """The entries that records of one store make, in the order in which models first appear; of surrogates, which are
    there for images to be made on them, there are none.

    Args:
        found: cells and other records.
        environments, started: of the runs, by number.
    """
    parts: dict[tuple[str, str, int], list[Cell]] = {}
    for record in found:
        if isinstance(record, Cell) and not is_surrogate(record.model):
            parts.setdefault((record.model.fingerprint, record.data.fingerprint, record.seed), []).append(record)
    diagnoses = {(d.model.fingerprint, d.data.fingerprint, d.seed): d for d in found if isinstance(d, Diagnosis)}
    made = []
    for place, part in parts.items():
        cells = sorted(name_conditions(part), key=lambda cell: cell.condition.kind != "clean")
        run, diagnosis = cells[0].run or 0, diagnoses.get(place)
        when = datetime.datetime.fromtimestamp(started[run], datetime.UTC) if run in started else None
        order = np.argsort(cells[0].ids)
        made.append(
            Entry(
                model=replace(cells[0].model, name=titled(cells[0].model)),
                data=cells[0].data,
                seed=cells[0].seed,
                examples=digest(cells[0].ids[order].tolist(), cells[0].labels[order].tolist()),
                n=len(order),
                scores=tuple(
                    Score(condition=cell.condition, right=packed(cell.correct[np.argsort(cell.ids)])) for cell in cells
                ),
                masked=diagnosis.masked if diagnosis else None,
                masking=diagnosis.verdict if diagnosis else "",
                environment={key: value for key, value in environments.get(run, {}).items() if key in ABOUT},
                date=when.isoformat(timespec="seconds") if when else "",
            )
        )
    return [replace(entry, baseline=_baseline(entry, made)) for entry in made]


def is_surrogate(model: ModelRecord) -> bool:
    """Whether a model is there for images to be made on it, as its origin says; such a one stands on no board."""
    return "surrogate" in (model.origin or {})


def packed(right: Bool[np.ndarray, " n"]) -> str:
    """Which examples are right, as `Score.right` has it."""
    return base64.b64encode(np.packbits(right).tobytes()).decode()


def titled(model: ModelRecord) -> str:
    """A name that says what it is a name of: in a store "w4a4" is enough, on a board it is not."""
    known = model.architecture
    return model.name if known is None or known in model.name else f"{known} {model.name}"


def _baseline(entry: Entry, others: Iterable[Entry]) -> str | None:
    """The float model that a quantized one is compared with: what it was made from, or one of its architecture."""
    if entry.model.is_float:
        return None
    floats = [o for o in others if o.model.is_float and (o.examples, o.seed) == (entry.examples, entry.seed)]
    made_from = (entry.model.origin or {}).get("start")
    ranked = sorted(
        (o for o in floats if o.model.architecture == entry.model.architecture or o.model.fingerprint == made_from),
        key=lambda o: (o.model.fingerprint != made_from, o.model.origin != entry.model.origin),
    )
    return ranked[0].model.fingerprint if ranked else None
