"""A task: work as a value, with what it needs and what it yields."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bitproof.conditions import Condition
from bitproof.judging.bench import Advance, Bench
from bitproof.judging.crafted import judge_crafted
from bitproof.judging.making import check_made
from bitproof.judging.share import WHOLE, Share
from bitproof.judging.shifted import judge_rerun, judge_shifted
from bitproof.records import Cell, ConditionRecord, ModelRecord, cell_key, joined

JUDGES: dict[str, Callable[..., Iterable[Cell]]] = {
    "shifted": judge_shifted,
    "crafted": judge_crafted,
    "rerun": judge_rerun,
}
"""How each family of conditions is judged."""


@dataclass(frozen=True, kw_only=True)
class JudgeTask:
    """Models under one condition, together: one corruption for all of them, one attack on one of them.

    Attributes:
        label: what is being done, for people.
        condition: what the models are tested under.
        about: how results name it.
        models: by key of the cell, what is tested; two names for one model have one key.
        needs: keys of cells that have to be there first, by the part that they play.
        cost: passes a cell, for progress bars.
        batches: that the examples make, beyond which there is nothing to part.
        share: of the examples.
    """

    label: str
    condition: Condition
    about: ConditionRecord
    models: Mapping[str, ModelRecord]
    needs: Mapping[str, str]
    cost: int
    batches: int
    share: Share = WHOLE

    @property
    def yields(self) -> dict[str, int]:
        """Cost of each cell in passes, by its key."""
        return dict.fromkeys(self.models, self.cost)

    def __call__(
        self, bench: Bench, needed: Mapping[str, Any], missing: frozenset[str], advance: Advance
    ) -> Iterable[Cell]:
        """The cells whose keys are in `missing`; `needed` holds the records that it needs, by part."""
        models = {record.name: record for key, record in self.models.items() if key in missing}
        return JUDGES[self.condition.family](bench, self.condition, self.about, models, needed, advance, self.share)

    def parts(self, count: int) -> "Sequence[JudgeTask]":
        """The same models on whole batches of the examples; itself where it only takes over another cell."""
        of = 1 if "same" in self.needs else min(count, self.batches)
        return [self] if of == 1 else [replace(self, share=Share(number=number, of=of)) for number in range(of)]

    def joined(self, parts: Sequence[Sequence[Cell]]) -> Sequence[Cell]:
        """The cells of all examples.

        Raises:
            InputError: none that could be read, or that the condition could be made of.
        """
        if len(parts) == 1:
            return parts[0]
        pieces: dict[str, list[Cell]] = {}
        for cell in (cell for part in parts for cell in part):
            pieces.setdefault(cell.key, []).append(cell)
        found = [joined(cells) for cells in pieces.values()]
        for cell in found:
            check_made(self.about.label, len(cell.ids), len(cell.ids) - cell.unmade, cell.data)
        return found

    @staticmethod
    def of(
        condition: Condition,
        about: ConditionRecord,
        models: Mapping[str, ModelRecord],
        *,
        label: str,
        bench: Bench,
        needs: Mapping[str, str],
    ) -> "JudgeTask":
        """The task for models by name."""
        data, seed = bench.data, bench.seed
        by_key: dict[str, ModelRecord] = {}
        for record in models.values():
            by_key.setdefault(cell_key(record, about, data.record, seed), record)
        return JudgeTask(
            label=label,
            condition=condition,
            about=about,
            models=by_key,
            needs=needs,
            cost=len(data) * condition.passes,
            batches=math.ceil(len(data) / bench.batch_size),
        )
