"""What every data set offers: labelled pictures, as the model sees them and as the files they come in."""

import abc
import hashlib
import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from bitproof.pictures.pixels import Framing
from bitproof.records import DataRecord
from bitproof.settings import describe

Rows = Sequence[int] | NDArray[np.integer[Any]]
"""Positions of examples in a data set."""


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
        hasher.update(json.dumps(describe(self.framing)).encode())
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
