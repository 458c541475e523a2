"""What every data set offers: labelled pictures, as the model sees them and as the files they come in; and some of
them, which keep their numbers."""

import abc
import hashlib
import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from bitproof.errors import InputError
from bitproof.pictures.pixels import REFERENCE_RESIZE, Framing
from bitproof.records import DataRecord
from bitproof.settings import describe

Rows = Sequence[int] | NDArray[np.integer[Any]]
"""Positions of examples in a data set."""


MOST_CLASSES = 1_000_000
"""That are named by their numbers alone."""


def counted(largest: int) -> tuple[str, ...]:
    """The names "0", "1", ... of classes up to the largest label.

    Raises:
        InputError: more than there are classes of anything, as where labels are other numbers.

    Example:
        >>> counted(2)
        ('0', '1', '2')
    """
    if largest >= MOST_CLASSES:
        raise InputError(
            f"the largest label is {largest}",
            rule=f"labels number the classes from 0, and there are {MOST_CLASSES:,} at most",
            remedy="Number the classes from 0, or name them",
        )
    return tuple(map(str, range(largest + 1)))


def composed(name: str) -> str:
    """A name in the form in which names are compared and kept: accents are written in two ways (as one letter, or as
    macOS does, behind the letter) that look the same."""
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True, kw_only=True)
class Read:
    """What could be read of some examples.

    Attributes:
        rows: int64 [m], positions of those whose pictures can be decoded.
        images: float32 [m, c, h, w] in [0, 1], by the reference preprocessing.
        left_out: the files of the others, and why.
    """

    rows: Int64[np.ndarray, " m"]
    images: Float[Tensor, "m c h w"]
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Data(abc.ABC):
    """Examples of one split of a data set. Reading changes nothing in it.

    Attributes:
        name, split: which data set and which part of it.
        classes: class names; a label is a position among them.
        labels: int64 [n].
        framing: how a picture becomes the model's input.
        left_out: what was found but cannot be used, by name, and why. Files are decoded when they are needed: `read`
            says which of them cannot be.
        numbers: int64 [n], each example's number in its split; None = they are its first ones.
        open: whether there may be classes beyond the named ones, as where labels are numbers. Otherwise a model for
            these data has one output a class, as a class that is missing would shift the labels of others.
    """

    name: str
    split: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    framing: Framing
    left_out: dict[str, str] = field(default_factory=dict)
    numbers: Int64[np.ndarray, " n"] | None = None
    open: bool = False

    @abc.abstractmethod
    def images(self, rows: Rows) -> Float[Tensor, "n c h w"]:
        """The examples at `rows` by the reference preprocessing, float32 in [0, 1].

        Raises:
            UnreadableError: a picture that cannot be decoded.
        """

    @abc.abstractmethod
    def read(self, rows: Rows) -> Read:
        """Those of `rows` whose pictures can be decoded, and their images."""

    @abc.abstractmethod
    def encoded(self, row: int) -> bytes:
        """The image file of one example, as a deployed pipeline would receive it."""

    @abc.abstractmethod
    def file(self, row: int) -> str | None:
        """The path of one example's file below the folder of the data set; None where it has none."""

    @abc.abstractmethod
    def content(self) -> Iterator[bytes | memoryview]:
        """All bytes that determine the pictures: what the fingerprint covers beside labels and framing."""

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.shape))
        return (
            f"{type(self).__name__}: {self.name} {self.split}, {len(self):,} of {len(self.classes):,} classes, {size}"
        )

    @cached_property
    def ids(self) -> Int64[np.ndarray, " n"]:
        """int64 [n], each example's number in its split; a limit does not change it, nor does a selection."""
        return np.arange(len(self), dtype=np.int64) if self.numbers is None else self.numbers

    def files_by_id(self) -> dict[int, str]:
        """The files of the examples by their numbers (`ids`); empty where they have none."""
        files = {number: self.file(row) for row, number in enumerate(self.ids.tolist())}
        return {number: file for number, file in files.items() if file is not None}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of what the model sees."""
        return self.framing.channels, self.framing.height, self.framing.width

    def take(self, count: int) -> "Selected":
        """The first `count` examples, or all where there are fewer."""
        return select(self, range(_positive(count, len(self))))

    def sample(self, count: int, *, seed: int = 0) -> "Selected":
        """A random part of `count` examples, or all where there are fewer: of each class its share, give or take one.

        Which ones follows from the seed and their numbers alone, and a smaller sample is a part of a larger one but
        for the rounding of shares. They stay in order.
        """
        rows = stratified(self.labels, self.ids, _positive(count, len(self)), seed)
        return select(self, rows)

    def inputs(self, batch_size: int = 128) -> Iterator[Float[Tensor, "n c h w"]]:
        """All images that can be read in order, in batches; what calibration reads."""
        for start in range(0, len(self), batch_size):
            read = self.read(range(start, min(start + batch_size, len(self))))
            if len(read.rows):
                yield read.images

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits over pictures, labels and framing, equal on every machine."""
        hasher = hashlib.blake2b(digest_size=16)
        framing = describe(self.framing)
        if framing["resize"] == REFERENCE_RESIZE:
            del framing["resize"]  # it is what results stand for that do not say how pictures were resized
        hasher.update(json.dumps(framing).encode())
        hasher.update(np.ascontiguousarray(self.labels, "<i8").data)
        for part in self.content():
            hasher.update(part)
        return hasher.hexdigest()

    @property
    def record(self) -> DataRecord:
        """What a stored result says of its data."""
        return DataRecord(
            name=self.name,
            split=self.split,
            fingerprint=self.fingerprint,
            count=len(self),
            classes=self.classes,
            left_out=dict(self.left_out),
        )


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Selected(Data):
    """Some examples of a data set; see `select`."""

    base: Data
    rows: NDArray[np.int64]

    def images(self, rows: Rows) -> Float[Tensor, "n c h w"]:
        return self.base.images(self.rows[np.asarray(rows, np.int64)])

    def read(self, rows: Rows) -> Read:
        asked = np.asarray(rows, np.int64)
        read = self.base.read(self.rows[asked])
        kept = np.isin(self.rows[asked], read.rows)
        return Read(rows=asked[kept], images=read.images, left_out=read.left_out)

    def encoded(self, row: int) -> bytes:
        return self.base.encoded(int(self.rows[row]))

    def file(self, row: int) -> str | None:
        return self.base.file(int(self.rows[row]))

    def content(self) -> Iterator[bytes | memoryview]:
        yield self.base.fingerprint.encode()
        yield np.ascontiguousarray(self.rows, "<i8").data


def spread(count: int, most: int) -> Int64[np.ndarray, " k"]:
    """At most so many of `count` rows, evenly over all of them."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))


def select(data: Data, rows: Any) -> Selected:
    """The examples at `rows`, which keep their numbers, so that results stay paired with those of the whole.

    Args:
        data: any data set, views too.
        rows: positions [m] in it, in any order, each at most once, or a bool mask [n].

    Raises:
        InputError: no row, or one that is not there or comes twice.

    Example:
        >>> from bitproof.data import load_data
        >>> select(load_data("digits", limit=10), [7, 2]).ids.tolist()
        [7, 2]
    """
    chosen = np.asarray(rows)
    chosen = np.flatnonzero(chosen) if chosen.dtype == bool and len(chosen) == len(data) else chosen
    whole = chosen.ndim == 1 and np.issubdtype(chosen.dtype, np.integer) and chosen.size > 0
    if not whole or chosen.min() < 0 or chosen.max() >= len(data) or len(np.unique(chosen)) < len(chosen):
        raise InputError(
            f"rows of type {chosen.dtype} {list(chosen.shape)}",
            rule=f"they are positions 0..{len(data) - 1}, at least one and each once, or a mask of {len(data)} truths",
            remedy="Count from 0, and leave out what comes twice",
        )
    positions = chosen.astype(np.int64)
    return Selected(
        name=data.name,
        split=data.split,
        classes=data.classes,
        labels=data.labels[positions],
        framing=data.framing,
        left_out=data.left_out,
        open=data.open,
        numbers=data.ids[positions],
        base=data,
        rows=positions,
    )


def stratified(
    labels: Int64[np.ndarray, " n"], ids: Int64[np.ndarray, " n"], count: int, seed: int
) -> Int64[np.ndarray, " count"]:
    """The rows of a random part in which each class has its share, rounded by largest remainder.

    Example:
        >>> rows = stratified(np.array([0, 0, 0, 0, 1, 1]), np.arange(6), 3, seed=0)
        >>> np.array([0, 0, 0, 0, 1, 1])[rows].tolist()
        [0, 0, 1]
    """
    classes, sizes = np.unique(labels, return_counts=True)
    exact = sizes * count / len(labels)
    shares = np.floor(exact).astype(np.int64)
    shares[np.argsort(shares - exact, kind="stable")[: count - shares.sum()]] += 1
    order = np.array([hashlib.blake2b(f"{seed} {number}".encode(), digest_size=8).digest() for number in ids.tolist()])
    chosen = [
        (rows := np.flatnonzero(labels == name))[np.argsort(order[rows], kind="stable")[:share]]
        for name, share in zip(classes, shares, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _positive(count: int, most: int) -> int:
    if count < 1:
        raise InputError(f"a part of {count} examples", rule="it holds at least one", remedy="Ask for 1 or more")
    return min(count, most)
