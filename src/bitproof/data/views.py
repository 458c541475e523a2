"""A data set whose images are changed as they are read. Each example keeps its number."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from bitproof.core.rng import Rng
from bitproof.data.base import Data, Read, Rows
from bitproof.errors import InputError
from bitproof.pictures.pixels import encode_png
from bitproof.settings import describe, digest

Change = Callable[..., Float[Tensor, "n c h w"]]
"""`(images, *, rng) -> images` of the same shape in [0, 1]; a setting, so that it can be recorded."""


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Mapped(Data):
    """A data set whose images are changed as they are read; see `mapped`."""

    base: Data
    change: Change
    seed: int

    def images(self, rows: Rows) -> Float[Tensor, "n c h w"]:
        return self._changed(rows, self.base.images(rows))

    def read(self, rows: Rows) -> Read:
        read = self.base.read(rows)
        return Read(rows=read.rows, images=self._changed(read.rows, read.images), left_out=read.left_out)

    def encoded(self, row: int) -> bytes:
        (image,) = self.images([row])
        return encode_png((image.permute(1, 2, 0) * 255).round().byte().numpy())

    def file(self, row: int) -> str | None:
        return self.base.file(row)

    def content(self) -> Iterator[bytes | memoryview]:
        yield self.base.fingerprint.encode()
        yield digest(describe(self.change, sources=True), self.seed).encode()

    def _changed(self, rows: Rows, images: Tensor) -> Tensor:
        ids = self.ids[np.asarray(rows, np.int64)]
        changed = self.change(images, rng=Rng(self.seed, ids, (digest(describe(self.change)),)))
        low, high = (float(v) for v in (changed.min(), changed.max())) if changed.numel() else (0.0, 0.0)
        if changed.shape != images.shape or not (low >= 0 and high <= 1):
            raise InputError(
                f"a change of images gave shape {tuple(changed.shape)} with values from {low:.4g} to {high:.4g}",
                rule=f"it gives images of the shape {tuple(images.shape)} in [0, 1]",
                remedy="Clip what it returns, and keep the size",
            )
        return changed


def mapped(data: Data, change: Change, *, labels: NDArray[np.int64] | None = None, seed: int = 0) -> Mapped:
    """The same examples with changed images, and other labels where these are given: a trigger, an augmentation.

    Args:
        data: any data set, views too.
        change: a setting that is called as `change(images, rng=rng)` and returns images of the same shape in [0, 1];
            randomness is keyed by example.
        labels: int64 [n], in place of the data's own.
        seed: of the randomness.
    """
    describe(change)  # refuses what cannot be recorded
    given = data.labels if labels is None else np.asarray(labels)
    if (
        given.shape != data.labels.shape
        or given.dtype.kind not in "iu"
        or not (0 <= given.min() <= given.max() < len(data.classes))
    ):
        raise InputError(
            f"labels of type {given.dtype} {list(given.shape)} from {given.min()} to {given.max()}",
            rule=f"they are {len(data)} whole numbers from 0 to {len(data.classes) - 1}",
            remedy="Give one class number an example",
        )
    return Mapped(
        name=data.name,
        split=data.split,
        classes=data.classes,
        labels=given.astype(np.int64),
        framing=data.framing,
        left_out=data.left_out,
        open=data.open,
        numbers=data.ids,
        base=data,
        change=change,
        seed=seed,
    )
