"""The images as they are."""

from dataclasses import dataclass

from bitproof.core.rng import Rng
from bitproof.data import Examples
from bitproof.records import ConditionRecord
from bitproof.settings import describe
from bitproof.shifts.base import Made, Shift, all_made


@dataclass(frozen=True, kw_only=True)
class Clean(Shift):
    """The images as they are."""

    @property
    def label(self) -> str:
        return "clean"

    def make(self, examples: Examples, *, rng: Rng) -> Made:
        return all_made(examples.images)

    def record(self) -> ConditionRecord:
        return ConditionRecord(kind="clean", label="clean", group="clean", setting=describe(self))
