"""What a table costs, about, before anything is made."""

import functools
from dataclasses import dataclass

from bitproof.conditions import Clean
from bitproof.conditions.base import as_condition
from bitproof.data import Data, load_data
from bitproof.tables.table import Study, Table, source_of

SPEED = {"smoke": 2e10, "reduced": 2e10, "full": 5e12}
"""Multiply-accumulates a second: of two cores, and of one large GPU in float32; well below what they can at most."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Passes of making all models and of testing them, at most, and about how many hours these take."""

    passes: int
    hours: float


def cost(table: Table, scale: str) -> Cost:
    """Of a table's first setting."""
    study = table.study[scale](table.settings[0])
    training = study.training or study.training_size
    made = sum(making.passes(training) for making in study.models.values())
    passes = made + (study.images or study.test_size) * _each(study)
    return Cost(passes=passes, hours=passes * study.macs / SPEED[scale] / 3600)


def told(table: Table) -> str:
    """A table in a line: what it shows, what it needs or the scales that it can be had at, and their costs."""
    also = f" ({', '.join(table.figures)} too)" if table.figures else ""
    if table.needs:
        return f"{table.title}{also}. Needs {table.needs}."
    costs = {scale: cost(table, scale) for scale in table.study}
    said = [f"{scale} {_count(cost.passes)} passes, {_time(cost.hours)}" for scale, cost in costs.items()]
    return f"{table.title}{also}. At most: {'; '.join(said)}."


@functools.cache
def _images() -> Data:
    """Conditions are fitted to the size of images; their passes are not."""
    return load_data("digits", limit=2)


def _each(study: Study) -> int:
    """Passes that a test image costs on all models together, at most."""
    conditions = [as_condition(c) for c in (Clean(), *study.conditions(_images()).values())]
    models = len(study.tested)
    once = [source_of(condition) is not None for condition in conditions]  # made on one, shown to all
    return sum(c.passes + models if single else models * c.passes for c, single in zip(conditions, once, strict=True))


def _count(passes: int) -> str:
    for size, word in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if passes >= size:
            return f"{passes / size:.3g} {word}"
    return str(passes)


def _time(hours: float) -> str:
    return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h" if hours >= 0.1 else f"{60 * hours:.1f} min"
