"""Several stores: put together, and compared."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from bitproof.errors import InputError
from bitproof.records import Cell, Record
from bitproof.store import Store


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What was put together.

    Attributes:
        copied: records that the new store holds.
        same: those that several stores held alike.
        conflicts: where two stores differ under one key: the first one's is kept.
    """

    copied: int
    same: int
    conflicts: tuple["Difference", ...]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A result that two stores hold differently under one key.

    Attributes:
        key, model, condition: which result.
        n: examples.
        predictions: on how many of them the predictions differ.
        confidence: the largest difference of confidences.
    """

    key: str
    model: str
    condition: str
    n: int
    predictions: int
    confidence: float

    def __str__(self) -> str:
        return (
            f"{self.model} under {self.condition}: other predictions on {self.predictions:,} of {self.n:,} examples, "
            f"confidences differ by at most {self.confidence:.2g}"
        )


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How two stores differ.

    Attributes:
        shared: results that both hold; equal: those of them that are alike in every prediction and confidence.
        only: how many the first and the second alone hold.
        differences: those that are not alike, most differing predictions first.
    """

    shared: int
    equal: int
    only: tuple[int, int]
    differences: tuple[Difference, ...]


def merge(stores: Sequence[str | Path], output: str | Path, *, keep_first: bool = False) -> Merged:
    """Put the records of several stores into a new one, each with the environment of its run, and the names of files.

    Args:
        stores: files, which are only read.
        output: a file that does not exist yet.
        keep_first: where two stores hold another result under one key, take that of the first; else this is refused.

    Raises:
        InputError: conflicts, a store that cannot be read, or an output that is there already.
    """
    if Path(output).exists():
        raise InputError(
            f"{str(output)!r} exists already", rule="stores are put together in a new one", remedy="Choose another path"
        )
    held: dict[str, Record] = {}
    runs: dict[tuple[int, int], dict[str, Any]] = {}
    origin: dict[str, tuple[int, int]] = {}
    files: dict[str, dict[int, str]] = {}
    same, conflicts = 0, list[Difference]()
    for number, path in enumerate(stores):
        with Store(path, readonly=True) as store:
            runs |= {(number, run): environment for run, environment in store.environments().items()}
            for data, names in store.files().items():
                files[data] = names | files.get(data, {})
            for record in store.query(None):
                if record.key not in held:
                    held[record.key], origin[record.key] = record, (number, record.run)
                elif (found := difference(held[record.key], record)) is None:
                    same += 1
                else:
                    conflicts.append(found)
    if conflicts and not keep_first:
        raise InputError(
            f"{len(conflicts)} results differ: {conflicts[0]}",
            rule="one key stands for one result, which machines and versions may compute differently",
            remedy="See which by `bitproof diff`, then merge with --keep-first to keep those of the first store",
        )
    with Store(output) as store:
        numbers = {run: store.begin_run(runs.get(run, {})) for run in sorted(set(origin.values()))}
        for key, record in held.items():
            store.append(record, numbers[origin[key]])
        for data, names in files.items():
            store.keep_files(data, names)
    return Merged(copied=len(held), same=same, conflicts=tuple(conflicts))


def compare_stores(one: str | Path, other: str | Path) -> Compared:
    """On how many examples two machines, or two versions, differ, result by result.

    Raises:
        InputError: a store that cannot be read.
    """
    with Store(one, readonly=True) as first, Store(other, readonly=True) as second:
        a, b = ({record.key: record for record in store.query(None)} for store in (first, second))
    shared = [key for key in a if key in b]
    found = [different for key in shared if (different := difference(a[key], b[key])) is not None]
    return Compared(
        shared=len(shared),
        equal=len(shared) - len(found),
        only=(len(a) - len(shared), len(b) - len(shared)),
        differences=tuple(sorted(found, key=lambda d: (-d.predictions, -d.confidence))),
    )


def difference(one: Record, other: Record) -> Difference | None:
    """How two records of one key differ; None where they say the same."""
    if not isinstance(one, Cell) or not isinstance(other, Cell):
        alike = replace(cast(Cell, one), run=None) == replace(cast(Cell, other), run=None)
        return (
            None
            if alike
            else Difference(
                key=one.key,
                model=one.model.name,
                condition=type(one).__name__.lower(),
                n=one.data.count,
                predictions=0,
                confidence=0.0,
            )
        )
    same_ids = np.array_equal(one.ids, other.ids)
    n = len(one.ids)
    changed = int((one.predictions != other.predictions).sum()) if same_ids else n
    gap = float(np.abs(one.confidences - other.confidences).max(initial=0.0)) if same_ids else 1.0
    if not changed and not gap:
        return None
    return Difference(
        key=one.key, model=one.model.name, condition=one.condition.label, n=n, predictions=changed, confidence=gap
    )
