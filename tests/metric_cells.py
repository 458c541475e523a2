"""Cells with known outcomes to compute metrics of."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bitproof.metrics import summary
from bitproof.records import ARRAYS, FURTHER, Cell, ConditionRecord, DataRecord, ModelRecord, Pictures

Z = 1.959963984540054  # the 97.5 % point of the normal distribution


def make_cell(
    correct: Sequence[int] | np.ndarray,
    *,
    model: str = "float",
    kind: str = "clean",
    label: str | None = None,
    group: str | None = None,
    first_id: int = 0,
    bits: int = 32,
) -> Cell:
    """A cell whose correctness is `correct`; 3 forwards and 2 backwards an example."""
    right = np.asarray(correct, bool)
    n, label = right.size, label or kind
    ids = np.arange(n, dtype=np.int64) + first_id
    zeros = np.zeros(n, np.float32)
    return Cell(
        model=ModelRecord(name=model, fingerprint=model, weight_bits=bits, act_bits=bits),
        condition=ConditionRecord(kind=kind, label=label, group=group or label, setting={"label": label}),
        data=DataRecord(name="made", split="test", fingerprint="made", count=n, classes=tuple("abcdef")),
        seed=0,
        ids=ids,
        labels=ids % 2,
        predictions=np.where(right, ids % 2, 1 - ids % 2),
        confidences=zeros,
        linf=zeros,
        l1=zeros,
        l2=zeros,
        forwards=3 * n,
        backwards=2 * n,
        seconds=1.5,
        pictures=Pictures(rows=np.zeros(0, np.int64), images=np.zeros((0, 1, 1, 1), np.float16)),
    )


def stacked(correct: Sequence[np.ndarray] | np.ndarray, groups: Sequence[str] | None = None) -> list[Cell]:
    """A cell a row of correctness, each under a condition of its own."""
    groups = groups or [""] * len(correct)
    return [
        make_cell(row, label=f"condition {i}", group=group)
        for i, (row, group) in enumerate(zip(correct, groups, strict=True))
    ]


def shuffled(cell: Cell, order: np.ndarray) -> Cell:
    """The same cell with its examples in another order."""
    also = {name: getattr(cell, name)[order] for name in FURTHER if getattr(cell, name) is not None}
    values = {name: array[order] for name, array in cell.values.items()}
    return replace(cell, **{name: getattr(cell, name)[order] for name in ARRAYS}, **also, values=values)


def scored(cell: Cell) -> Cell:
    """The same cell with what a model says of the label: much where it is right, little where it is wrong."""
    right = cell.correct
    return replace(
        cell,
        losses=np.where(right, 0.25, 2.5).astype(np.float32),
        ranks=np.where(right, 0, 5).astype(np.int32),
        squares=np.full(right.size, 0.75, np.float32),
    )


def targeted(cell: Cell, targets: Sequence[int], predictions: Sequence[int]) -> Cell:
    return replace(cell, targets=np.array(targets), predictions=np.array(predictions))


def sequence(cell: Cell, frames: Sequence[Sequence[int]], *, compared: str = "previous", step: int = 1) -> Cell:
    condition = replace(cell.condition, kind="sequence", label="tilt", group="tilt", compared=compared, step=step)
    return replace(cell, condition=condition, frames=np.array(frames))


def random_cells(n: int = 40) -> list[Cell]:
    """Two models under one condition of each kind and more."""
    draw = np.random.default_rng(3)
    conditions = [
        ("clean", "clean", None, 0.9),
        ("attack", "fgsm", None, 0.5),
        ("attack", "pgd", None, 0.3),
        ("corruption", "fog 1", "fog", 0.8),
        ("corruption", "fog 5", "fog", 0.6),
        ("corruption", "snow 3", "snow", 0.5),
        ("systematic", "pillow", None, 0.9),
        ("systematic", "opencv", None, 0.8),
    ]
    return [
        make_cell(draw.random(n) < rate, model=model, kind=kind, label=label, group=group, bits=bits)
        for model, bits in (("float", 32), ("w4a4", 4))
        for kind, label, group, rate in conditions
    ]


def values(
    cells: Sequence[Cell], model: str | None = None, reference: str | None = None
) -> dict[tuple[str, str], float | None]:
    """The summary of one model as {(metric, condition): value}."""
    rows = [row for row in summary(cells, reference) if model in (None, row["model"])]
    return {(row["metric"], row["condition"]): row["value"] for row in rows}
