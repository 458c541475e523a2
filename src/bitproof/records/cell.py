"""One cell = one model under one condition on one data set, example by example.

A cell holds arrays, not scores. Every metric is a pure function of cells (`bitproof.metrics`), so a new
metric never needs a new run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16, Float32, Float64, Int32, Int64, UInt64

from bitproof.errors import InputError
from bitproof.records.base import SCHEMA
from bitproof.records.condition import ConditionRecord
from bitproof.records.data import DataRecord
from bitproof.records.model import ModelRecord
from bitproof.settings import digest

ARRAYS = ("ids", "labels", "predictions", "confidences", "linf", "l2", "l1")
"""The arrays that every cell has, one entry an example."""

FURTHER = ("losses", "ranks", "squares", "frames", "digests", "targets")
"""The arrays that a cell may have beside them."""

REFUSED = "refused"
"""The name among a cell's `values` of what a defence says: it takes the answer to the example back."""

POSSIBLE = "possible: "
"""How the names begin under which a cell has the answers of the models of which chance decides which is asked."""

KEPT = "kept"
"""The name among a cell's `values` of what the model beside the attacked one says to the same images."""

RADIUS = "radius"
"""The name among a cell's `values` of certified radii in l2, 0 where there is none."""

LONGEST = 100
"""Letters of a setting's value in a label; a longer one is a short hash there."""


def cell_key(model: ModelRecord, condition: ConditionRecord, data: DataRecord, seed: int) -> str:
    """The content address of a cell: 32 hexadecimal digits over everything that determines its arrays."""
    return digest(SCHEMA, "cell", model.identity, condition.identity, data.fingerprint, seed)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """A few of the images the model really saw, for the report's gallery.

    `rows` are positions in the cell's arrays, `images` is float16 [k, c, h, w] in [0, 1].
    """

    rows: Int64[np.ndarray, " k"]
    images: Float16[np.ndarray, "k c h w"]


class LaterPictures(Pictures):
    """Pictures that stay where they lie until they are looked at, as those of a thousand cells do not fit into memory.

    Args:
        rows: as in `Pictures`.
        load: gives the images.
    """

    def __init__(self, rows: Int64[np.ndarray, " k"], load: Callable[[], Float16[np.ndarray, "k c h w"]]) -> None:
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "load", load)

    @property
    def images(self) -> Float16[np.ndarray, "k c h w"]:  # pyright: ignore - a field of the other class
        return self.load()  # pyright: ignore - set above


@dataclass(frozen=True, kw_only=True, repr=False)
class Cell:
    """One model under one condition on one data set. All arrays have one entry an example.

    Attributes:
        ids: int64 [n], the example's number in its split. Examples whose pictures cannot be decoded have no entry.
        labels, predictions: int64 [n], class indices; the prediction is -1 where the condition could not be made of
            the example, because its decoder refused the file, or because a stored copy is damaged.
        confidences: float32 [n], softmax probability of the prediction.
        linf, l2, l1: float32 [n], distance of the tested image from the clean one, in [0, 1] pixel units.
        losses: float32 [n], -log of the label's softmax probability (`label_probabilities`), infinite where there is
            no prediction.
        ranks: int32 [n], how many classes come before the label, 0 where it is the prediction; -1 where there is none.
        squares: float32 [n], sum of the squared probabilities of all classes, of which the Brier score is made.
        frames: int64 [n, f], the prediction in each frame of a sequence; None for single images. A sequence's
            predictions, confidences, distances and pictures are those of its first frame.
        digests: uint64 [n], a hash of the pixels that the models saw (`pictures.pixels.digests`; of all frames of a
            sequence), 0 where there were none; None where each model has its own (attacks), or the clean ones and
            is run another way.
        targets: int64 [n], the class that a targeted attack or a trigger went for, -1 where it had none; None for all
            others.
        values: further numbers, one an example, by name: certified radii, abstentions and the like, [n] each.
        forwards, backwards: passes spent on all examples together (one pass = one example, once).
        seconds: wall time, for orientation only; shared machines make it noisy.
        device: where it was made, e.g. "cpu" or "cuda:0"; not part of the key. What the device was, and how it was
            set, is in the environment of its run.
        run: which run of the store computed it; None before it is stored.
    """

    model: ModelRecord
    condition: ConditionRecord
    data: DataRecord
    seed: int
    ids: Int64[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]
    predictions: Int64[np.ndarray, " n"]
    confidences: Float32[np.ndarray, " n"]
    linf: Float32[np.ndarray, " n"]
    l2: Float32[np.ndarray, " n"]
    l1: Float32[np.ndarray, " n"]
    forwards: int
    backwards: int
    seconds: float
    pictures: Pictures
    losses: Float32[np.ndarray, " n"] | None = None
    ranks: Int32[np.ndarray, " n"] | None = None
    squares: Float32[np.ndarray, " n"] | None = None
    frames: Int64[np.ndarray, "n f"] | None = None
    digests: UInt64[np.ndarray, " n"] | None = None
    targets: Int64[np.ndarray, " n"] | None = None
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    device: str = "cpu"
    run: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        arrays = {name: getattr(self, name) for name in (*ARRAYS, *FURTHER)} | dict(self.values)
        lengths = {name: len(array) for name, array in arrays.items() if array is not None}
        if len(set(lengths.values())) > 1:
            raise InputError(
                f"the arrays of a cell have {lengths} entries",
                rule="each has one an example",
                remedy="Give one value for every id",
            )

    def __repr__(self) -> str:
        about = f"{self.model.name} under {self.condition.label} on {self.data.name} {self.data.split}"
        return f"Cell: {about}, n = {len(self.ids):,}, {self.correct.mean():.1%} right, seed {self.seed}"

    @property
    def key(self) -> str:
        """The content address under which the store keeps this cell."""
        return cell_key(self.model, self.condition, self.data, self.seed)

    @property
    def correct(self) -> Bool[np.ndarray, " n"]:
        """bool [n]: there is a prediction, and it equals the label."""
        return (self.predictions == self.labels) & (self.predictions >= 0)

    @property
    def refused(self) -> Bool[np.ndarray, " n"]:
        """bool [n]: a defence took the answer back."""
        return np.asarray(self.values.get(REFUSED, np.zeros(len(self.ids))), bool)

    @property
    def possible(self) -> Int64[np.ndarray, "n a"]:
        """int64 [n, a]: the classes that may be answered where chance decides which; else the predictions alone."""
        drawn = [values for name, values in self.values.items() if name.startswith(POSSIBLE)]
        return np.stack(drawn or [self.predictions], 1).astype(np.int64)

    @property
    def fooled(self) -> Float64[np.ndarray, " n"]:
        """float64 [n]: the share of the answers that may be given which are wrong and not taken back; 1 or 0 where
        chance has no part."""
        return np.where(self.refused, 0.0, (self.possible != self.labels[:, None]).mean(1))

    @property
    def label_probabilities(self) -> Float64[np.ndarray, " n"]:
        """float64 [n], softmax probability of the label, 0 where there is no prediction."""
        assert self.losses is not None
        return np.exp(-self.losses.astype(np.float64))

    @property
    def unmade(self) -> int:
        """Number of examples that the condition could not be made of; they count as wrong."""
        return int((self.predictions < 0).sum())


def joined(cells: Sequence[Cell]) -> Cell:
    """The cell of all examples, of cells of the same model, condition, data and seed that have each some of them.

    Args:
        cells: in the order of their examples; passes and seconds add up.
    """

    def together(name: str) -> np.ndarray | None:
        found = [getattr(cell, name) for cell in cells]
        width = next((array.shape[1:] for array in found if array is not None), None)
        if width is None:
            return None
        # a sequence that could be made of no example of a part has no frames there
        return np.concatenate(
            [
                np.full((len(cell.ids), *width), -1) if array is None else array
                for cell, array in zip(cells, found, strict=True)
            ]
        )

    kinds = {name: values.dtype for cell in cells for name, values in cell.values.items()}
    starts = np.cumsum([0, *(len(cell.ids) for cell in cells)])
    return replace(
        cells[0],
        data=replace(cells[0].data, left_out={k: v for cell in cells for k, v in cell.data.left_out.items()}),
        **{name: together(name) for name in (*ARRAYS, *FURTHER)},
        values={
            name: np.concatenate([cell.values.get(name, np.zeros(len(cell.ids), kind)) for cell in cells])
            for name, kind in kinds.items()
        },
        forwards=sum(cell.forwards for cell in cells),
        backwards=sum(cell.backwards for cell in cells),
        seconds=sum(cell.seconds for cell in cells),
        pictures=Pictures(
            rows=np.concatenate([cell.pictures.rows + start for cell, start in zip(cells, starts, strict=False)]),
            images=np.concatenate([cell.pictures.images for cell in cells]),
        ),
    )


def name_conditions(cells: Sequence[Cell]) -> list[Cell]:
    """The cells with one label a condition: where two settings share one, the fields that differ are added."""
    options: dict[str, dict[str, dict[str, Any]]] = {}
    for c in (cell.condition for cell in cells):
        options.setdefault(c.label, {})[digest(c.identity)] = c.options
    named: list[Cell] = []
    for cell in cells:
        c = cell.condition
        variants = options[c.label].values()
        different = [k for k, v in c.options.items() if any(other.get(k) != v for other in variants)]
        if len(different) > 1:
            different = [k for k in different if k != "after"]  # follows from the others
        if different and c.kind != "clean":
            texts = ("after smaller budgets" if k == "after" else f"{k}={_short(c.options[k])}" for k in different)
            extra = f" ({', '.join(texts)})"
            c = replace(c, label=c.label + extra, group=c.group + extra if c.source or c.norm else c.group)
        named.append(replace(cell, condition=c))
    return named


def _short(value: Any) -> str:
    """A value of a setting for a label; of a long one, such as the pixels of a patch, a short hash."""
    text = str(value)
    return text if len(text) <= LONGEST else digest(value)[:8]
