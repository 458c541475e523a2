"""Making the images of a condition, in this process or in workers.

An example's images depend on the example, the condition and the seed alone, so workers change nothing but the time.
"""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt64
from numpy.typing import NDArray
from torch import Tensor

from bitproof.core.balls import BALLS
from bitproof.core.processes import Handed, died, worker_pool
from bitproof.core.rng import Rng
from bitproof.data import Data, Examples
from bitproof.errors import InputError
from bitproof.judging.believing import believed_frames, keyed_draws
from bitproof.judging.checks import check_images
from bitproof.judging.share import WHOLE, Share
from bitproof.pictures.pixels import digests
from bitproof.records import DataRecord
from bitproof.settings import describe, digest
from bitproof.shifts.base import Shift

Rows = NDArray[np.int64]

UNIT_BYTES = 2**22
"""Of the images that a worker makes and hands over at once."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The images of some examples under a condition, made once for all models.

    Attributes:
        read: int64 [n], positions of the examples whose own pictures can be decoded.
        rows: int64 [m], those of them that the condition could be made of.
        frames: float32 [m, f, c, h, w] in [0, 1], one frame for all but sequences.
        distances: float32 [m] by norm, of the first frames from the clean images.
        digests: uint64 [m], `pictures.pixels.digests` of the frames.
        left_out: files that cannot be decoded, and why.
    """

    read: Int64[np.ndarray, " n"]
    rows: Int64[np.ndarray, " m"]
    frames: Float[Tensor, "m f c h w"]
    distances: dict[str, NDArray[np.float32]]
    digests: UInt64[np.ndarray, " m"]
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Maker:
    """Makes what models are tested on; closed after use, as it may hold worker processes.

    Attributes:
        data: the examples.
        seed: of the experiment.
        workers: processes that make images beside this one; 0 makes them here, when they are needed.
    """

    data: Data
    seed: int
    workers: int = 0

    def batches(self, shift: Shift, size: int, share: Share = WHOLE) -> Iterator[Batch]:
        """The examples' images in order, `size` at a time.

        Raises:
            InputError: images outside [0, 1] or of another shape, a worker that died, and of all examples none that can
                be read, or that the shift could be made of.
        """
        read, made, every = 0, 0, np.arange(len(self.data))
        mine = every[share.mask(every, len(every), size)]
        left_out: dict[str, str] = {}
        if not self.workers:
            parts = (make(shift, self.data, self.seed, rows) for rows in chunks(mine, size))
        else:
            parts = self._from_workers(shift, mine, size)
        for batch in parts:
            read, made = read + len(batch.read), made + len(batch.rows)
            left_out |= batch.left_out
            if len(batch.read) or batch.left_out:
                yield batch
        if share.whole:
            check_made(shift.label, read, made, replace(self.data.record, left_out=left_out))

    def close(self) -> None:
        """End the worker processes."""
        if "_pool" in self.__dict__:
            self._pool.shutdown(cancel_futures=True)

    @cached_property
    def _pool(self) -> ProcessPoolExecutor:
        return worker_pool(self.workers, _prepare, Handed(self.data), self.seed)

    def _from_workers(self, shift: Shift, mine: Rows, size: int) -> Iterator[Batch]:
        """Batches put together from units, of which a few more than there are workers are under way."""
        image = 4 * math.prod(self.data.shape) * shift.frames
        unit = min(size, max(1, UNIT_BYTES // image))
        batches = [list(chunks(rows, unit)) for rows in chunks(mine, size)]
        units = iter([part for batch in batches for part in batch])
        waiting: deque[Future[Batch]] = deque()
        try:
            for batch in batches:
                parts: list[Batch] = []
                while len(parts) < len(batch):
                    while len(waiting) < 2 * self.workers and (rows := next(units, None)) is not None:
                        waiting.append(self._pool.submit(_hand_over, shift, rows))
                    parts.append(waiting.popleft().result())
                yield _joined(parts)
        except BrokenProcessPool as error:
            raise died() from error


def check_read(read: int, data: DataRecord) -> None:
    """Refuse data of which no example could be read.

    Args:
        read: how many could be.
        data: the examples, with the files that cannot be decoded.

    Raises:
        InputError: none.
    """
    if not read:
        file, reason = next(iter(data.left_out.items()))
        raise InputError(
            f"none of the {data.count} pictures of {data.name!r} can be read",
            rule=f"a result needs at least one; {file} {reason}",
            remedy="Check the files",
        )


def check_made(label: str, read: int, made: int, data: DataRecord) -> None:
    """Refuse a condition of which there is nothing to tell.

    Args:
        label: of the condition.
        read, made: how many examples could be read, and of how many of them the condition could be made.
        data: the examples, with the files that cannot be decoded.

    Raises:
        InputError: none could be read, or made.
    """
    check_read(read, data)
    if not made:
        raise InputError(
            f"shift {label!r} could not be made of any picture",
            rule="a result needs at least one that can be decoded under it",
            remedy="Check its files and its decoder, or leave the condition out",
        )


def make(shift: Shift, data: Data, seed: int, rows: Rows) -> Batch:
    """The images of the examples at `rows`.

    Raises:
        InputError: images outside [0, 1] or of another shape, random numbers that are not keyed.
    """
    with keyed_draws(f"data set {data.name!r}"):
        read = data.read(rows)
    clean = check_images(read.images, data.shape, f"data set {data.name!r}")
    if not len(read.rows):
        return Batch(
            read=read.rows,
            rows=read.rows,
            frames=clean[:, None],
            distances=measured(clean, clean),
            digests=digests(clean),
            left_out=read.left_out,
        )
    examples = Examples(data=data, rows=read.rows, images=clean)
    made = believed_frames(shift, examples, keyed(shift, data, seed).select(read.rows))
    first = made.frames[:, 0]
    kept = clean if made.made.all() else clean[torch.from_numpy(made.made)]
    return Batch(
        read=read.rows,
        rows=read.rows[made.made],
        frames=made.frames,
        distances=measured(kept, kept if first.data_ptr() == kept.data_ptr() else first),
        digests=digests(made.frames),
        left_out=read.left_out,
    )


def measured(clean: Tensor, tested: Tensor) -> dict[str, NDArray[np.float32]]:
    """How far each image is from its clean one, under every norm."""
    if tested is clean:
        return {norm: np.zeros(len(clean), np.float32) for norm in BALLS}
    delta = tested - clean
    return {norm: ball.norm(delta).cpu().numpy() for norm, ball in BALLS.items()}


def chunks(rows: Rows, size: int) -> Iterator[Rows]:
    """The rows in order, `size` at a time."""
    return (rows[i : i + size] for i in range(0, len(rows), size))


def keyed(setting: object, data: Data, seed: int) -> Rng:
    """The randomness of all examples under an attack or shift."""
    return Rng(seed, data.ids, (digest(describe(setting)),))


def _joined(parts: list[Batch]) -> Batch:
    return Batch(
        read=np.concatenate([part.read for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
        frames=torch.cat([part.frames for part in parts if len(part.rows)] or [parts[0].frames]),
        distances={norm: np.concatenate([part.distances[norm] for part in parts]) for norm in BALLS},
        digests=np.concatenate([part.digests for part in parts]),
        left_out={name: reason for part in parts for name, reason in part.left_out.items()},
    )


# ---- in a worker --------------------------------------------------------------------------------------------

_worker: tuple[Data, int]


def _prepare(data: Data, seed: int) -> None:
    global _worker
    _worker = data, seed


def _hand_over(shift: Shift, rows: Rows) -> Batch:
    data, seed = _worker
    return make(shift, data, seed, rows)
