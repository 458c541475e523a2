"""What every explanation is: an analysis of models on data, found again by a key. Needs no torch."""

import abc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from bitproof.records.base import SCHEMA
from bitproof.records.data import DataRecord
from bitproof.records.model import ModelRecord
from bitproof.settings import digest

if TYPE_CHECKING:
    import pandas as pd


def explanation_key(
    kind: str, models: tuple[ModelRecord, ...], data: DataRecord, seed: int, setting: dict[str, Any]
) -> str:
    """The content address of an explanation: 32 hexadecimal digits over everything that determines it."""
    return digest(SCHEMA, kind, [model.identity for model in models], data.fingerprint, seed, setting)


@dataclass(frozen=True, kw_only=True)
class Explained(abc.ABC):
    """What an analysis found.

    Attributes:
        model: what it is about.
        others: other models that it needed, such as the float one.
        data, seed: on what.
        setting: the analysis, described.
        forwards, backwards: passes spent on all examples together. A forward through a part of a model counts as that
            part of its multiply-accumulates.
        seconds: wall time, for orientation only.
        run: which run of the store computed it; None before it is stored.
    """

    KIND: ClassVar[str]
    """The name that a store and the command line have for it."""

    DERIVED: ClassVar[tuple[str, ...]] = ("findings",)

    model: ModelRecord
    others: tuple[ModelRecord, ...]
    data: DataRecord
    seed: int
    setting: dict[str, Any]
    forwards: float
    backwards: int
    seconds: float
    run: int | None = field(default=None, compare=False)

    @property
    def key(self) -> str:
        """The content address under which the store keeps this record."""
        return explanation_key(self.KIND, (self.model, *self.others), self.data, self.seed, self.setting)

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """What it is, for headings."""

    @property
    @abc.abstractmethod
    def findings(self) -> list[str]:
        """What is to be said of it, in words."""

    @abc.abstractmethod
    def table(self) -> "pd.DataFrame":
        """The numbers, a row a layer (or a pair of models)."""
