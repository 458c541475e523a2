"""What a result is: one cell = one model under one condition on one data set, example by example.

A cell holds arrays, not scores. Every metric is a pure function of cells (`bitproof.metrics`), so a new
metric never needs a new run. This module knows nothing of torch, so results can be read without it.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitproof.errors import InputError
from bitproof.settings import digest

SCHEMA = 1
"""Version of the layout of cells and store; part of every cell's key. A reader refuses newer ones."""

KINDS = ("clean", "attack", "minimum", "transfer", "corruption", "sequence", "systematic")
"""What a condition can be. Metrics select cells by it. "minimum": an attack without a budget, whose result is the
distance that it needs; it breaks almost every example, so it has no place in a union of attacks. "transfer":
images that an attack made on another model."""


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """Which model was tested: its name in the experiment, the hash of its weights and code, its scheme."""

    name: str
    fingerprint: str
    scheme: dict[str, Any] | None = None
    weight_bits: int = 32
    act_bits: int = 32

    @property
    def identity(self) -> tuple[str, Any]:
        """What the cell's key takes from the model: everything that can change a prediction, not the name."""
        return self.fingerprint, self.scheme


@dataclass(frozen=True, kw_only=True)
class DataRecord:
    """Which examples were used: name, split, count, class names and the hash of images and labels.

    `left_out`: files among the `count` that cannot be decoded and folders that are no class, by name, and why.
    """

    name: str
    split: str
    fingerprint: str
    count: int
    classes: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ConditionRecord:
    """Under what: the kind, a label for people, a group (conditions that differ in severity only), the setting."""

    kind: str
    label: str
    group: str
    setting: dict[str, Any]


def cell_key(model: ModelRecord, condition: ConditionRecord, data: DataRecord, seed: int) -> str:
    """The content address of a cell: 32 hexadecimal digits over everything that determines its arrays."""
    return digest(SCHEMA, model.identity, condition.kind, condition.setting, data.fingerprint, seed)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """A few of the images the model really saw, for the report's gallery.

    `rows` are positions in the cell's arrays, `images` is float16 [k, c, h, w] in [0, 1].
    """

    rows: NDArray[np.int64]
    images: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One model under one condition on one data set. All arrays have one entry an example.

    Attributes:
        ids: int64 [n], the example's number in its split. Examples whose pictures cannot be decoded have no entry.
        labels, predictions: int64 [n], class indices; the prediction is -1 where the condition could not be made of
            the example, because its decoder refused the file, or because a stored copy is damaged.
        confidences: float32 [n], softmax probability of the prediction.
        linf, l2, l1: float32 [n], distance of the tested image from the clean one, in [0, 1] pixel units.
        frames: int64 [n, f], the prediction in each frame of a sequence; None for single images. A sequence's
            predictions, confidences, distances and pictures are those of its first frame.
        digests: uint64 [n], a hash of the pixels that the models saw (`pictures.pixels.digests`; of all frames of a
            sequence), 0 where there were none; None where each model has its own (attacks), or the clean ones and
            is run another way.
        forwards, backwards: passes spent on all examples together (one pass = one example, once).
        seconds: wall time, for orientation only; shared machines make it noisy.
        run: which run of the store computed it; None before it is stored.
    """

    model: ModelRecord
    condition: ConditionRecord
    data: DataRecord
    seed: int
    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    confidences: NDArray[np.float32]
    linf: NDArray[np.float32]
    l2: NDArray[np.float32]
    l1: NDArray[np.float32]
    forwards: int
    backwards: int
    seconds: float
    pictures: Pictures
    frames: NDArray[np.int64] | None = None
    digests: NDArray[np.uint64] | None = None
    run: int | None = field(default=None, compare=False)

    @property
    def key(self) -> str:
        """The content address under which the store keeps this cell."""
        return cell_key(self.model, self.condition, self.data, self.seed)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """bool [n]: the prediction equals the label."""
        return self.predictions == self.labels

    @property
    def unmade(self) -> int:
        """Number of examples that the condition could not be made of; they count as wrong."""
        return int((self.predictions < 0).sum())


OPTIONAL = ("frames", "digests")
ARRAYS = ("ids", "labels", "predictions", "confidences", "linf", "l2", "l1")


def pack(cell: Cell) -> bytes:
    """The cell's arrays as compressed NPZ bytes (no pickled objects)."""
    buffer = io.BytesIO()
    arrays = {name: getattr(cell, name) for name in ARRAYS}
    arrays |= {name: array for name in OPTIONAL if (array := getattr(cell, name)) is not None}
    np.savez_compressed(buffer, **arrays, rows=cell.pictures.rows, images=cell.pictures.images)
    return buffer.getvalue()


def unpack(blob: bytes) -> dict[str, Any]:
    """The arrays of `pack` by field name, ready for `Cell(**...)`.

    Raises:
        InputError: the bytes are not what `pack` writes; pickled objects are never read.
    """
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as stored:
            arrays: dict[str, Any] = {name: stored[name] for name in ARRAYS}
            arrays |= {name: stored.get(name) for name in OPTIONAL}
            arrays["pictures"] = Pictures(rows=stored["rows"], images=stored["images"])
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"the arrays of a stored result are damaged ({error})",
            rule="they are the NPZ that bitproof wrote",
            remedy="Restore the store from a copy or start a new one",
        ) from error
    return arrays


def name_conditions(cells: Sequence[Cell]) -> list[Cell]:
    """The cells with one label a condition: where two settings share one, the fields that differ are added."""
    settings: dict[str, dict[str, dict[str, Any]]] = {}
    for c in (cell.condition for cell in cells):
        settings.setdefault(c.label, {})[digest(c.setting)] = _fields(c)
    named: list[Cell] = []
    for cell in cells:
        c, source = cell.condition, ""
        if c.kind == "transfer":
            source = f" from {c.group}"
        label = "clean" if c.kind == "clean" else c.label.removesuffix(source)
        fields, variants = _fields(c), settings[c.label].values()
        different = [k for k, v in fields.items() if any(other.get(k) != v for other in variants)]
        if len(different) > 1:
            different = [k for k in different if k != "after"]  # follows from the others
        if different and c.kind != "clean":
            texts = ("after smaller budgets" if k == "after" else f"{k}={fields[k]}" for k in different)
            label += f" ({', '.join(texts)})"
        named.append(replace(cell, condition=replace(c, label=label + source)))
    return named


def _fields(condition: ConditionRecord) -> dict[str, Any]:
    """The setting, that of a transfer's attack beside the rest of it."""
    setting = condition.setting
    return {**setting, **setting["attack"]} | {"attack": None} if condition.kind == "transfer" else setting
