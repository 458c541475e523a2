"""Examples that come as image files and are decoded when they are asked for, wherever the files lie."""

import abc
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.data.base import Data, Read, Rows, composed
from bitproof.errors import InputError, UnreadableError
from bitproof.pictures.pixels import (
    REFERENCE_DECODER,
    REFERENCE_RESIZE,
    Framing,
    decode,
    framed,
    size_of,
    to_tensor,
)

LARGEST_SIZE = 4096
"""Of a side in pixels: a single image then takes 200 MB."""

USUAL_SIZE = 224

Encoded = TypeVar("Encoded", bound="EncodedData")

UNSEEN = Framing(channels=3, height=USUAL_SIZE, width=USUAL_SIZE)
"""Of data whose pictures are still to be looked at (`framed_by_first`)."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EncodedData(Data, abc.ABC):
    """Examples whose `encoded` files are read one by one."""

    @abc.abstractmethod
    def name_of(self, row: int) -> str:
        """What one example's file is called, for people."""

    @abc.abstractmethod
    def source_of(self, row: int) -> str:
        """Where one example's file lies, for messages."""

    def images(self, rows: Rows) -> Float[Tensor, "n c h w"]:
        return self._batch([self._picture(int(row)) for row in rows])

    def read(self, rows: Rows) -> Read:
        kept, pictures, left_out = [], [], {}
        for row in map(int, rows):
            try:
                pictures.append(self._picture(row))
                kept.append(row)
            except UnreadableError as error:
                left_out[self.name_of(row)] = error.reason
        return Read(rows=np.array(kept, np.int64), images=self._batch(pictures), left_out=left_out)

    def content(self) -> Iterator[bytes | memoryview]:
        for row in range(len(self)):
            yield composed(self.name_of(row)).encode(errors="surrogateescape") + b"\0"
            yield hashlib.blake2b(self.encoded(row)).digest()

    def _batch(self, pictures: list[np.ndarray]) -> Float[Tensor, "n c h w"]:
        return to_tensor(np.stack(pictures)) if pictures else torch.empty(0, *self.shape)

    def _picture(self, row: int) -> np.ndarray:
        source = self.source_of(row)
        picture = decode(self.encoded(row), REFERENCE_DECODER, channels=self.framing.channels, source=source)
        return framed(picture, self.framing, self.framing.resize)


def _first_size(pictures: Iterable[bytes]) -> tuple[int, int]:
    """Height and width of the first one that can be read; of none, the usual ones."""
    for encoded in pictures:
        with suppress(UnreadableError):
            return size_of(encoded)
    return USUAL_SIZE, USUAL_SIZE


def framing_of(
    size: int | None, shorter: int | None, resize: str, pictures: Iterable[bytes] = (), channels: int = 3
) -> Framing:
    """How pictures become images of size x size.

    Args:
        size: pixels; None = 224, or where the first of the `pictures` that can be read is smaller, its own size without
            a cut.
        shorter: pixels to which the shorter side is resized before the centre is cut out; None = size * 256 / 224.
        resize: a name in `RESIZES`.
        pictures: files of them.
        channels: 3 for RGB, 1 for grey.

    Raises:
        InputError: sizes or channels that are not possible.
    """
    if channels not in (1, 3):
        raise InputError(f"channels is {channels}", rule="pictures are RGB (3) or grey (1)", remedy="Use 3 or 1")
    if size is None:
        height, width = _first_size(pictures)
        if shorter is None and min(height, width) < USUAL_SIZE:
            return Framing(channels=channels, height=height, width=width, resize=resize or REFERENCE_RESIZE)
        size = USUAL_SIZE
    if not 1 <= size <= LARGEST_SIZE:
        raise InputError(
            f"size is {size}",
            rule=f"it is the side of the model's input in pixels, {LARGEST_SIZE:,} at most",
            remedy="Try 224",
        )
    if shorter is not None and not size <= shorter <= 2 * LARGEST_SIZE:
        raise InputError(
            f"shorter is {shorter}",
            rule=f"the centre of {size} pixels is cut out of it, and {2 * LARGEST_SIZE:,} are the most",
            remedy="Try 256 for a size of 224",
        )
    return Framing(
        channels=channels, height=size, width=size, shorter=shorter or round(size * 256 / 224), resize=resize
    )


def framed_by_first(data: Encoded, *, size: int | None, shorter: int | None, resize: str, channels: int) -> Encoded:
    """The same data, whose pictures become images as `framing_of` has it for the first of them.

    Raises:
        InputError: sizes or channels that are not possible.
    """
    return replace(data, framing=framing_of(size, shorter, resize, map(data.encoded, range(len(data))), channels))
