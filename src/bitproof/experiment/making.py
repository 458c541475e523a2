"""Making the images of a condition, in this process or in workers.

An example's images depend on the example, the condition and the seed alone, so workers change nothing but the time.
"""

import math
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing.shared_memory import SharedMemory

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from bitproof.attacks import Attack
from bitproof.core.balls import BALLS
from bitproof.core.memory import keep_freed_memory
from bitproof.core.rng import Rng
from bitproof.data import Data, FolderData
from bitproof.errors import InputError, UnreadableError
from bitproof.experiment.conditions import Clean
from bitproof.pictures.pixels import REFERENCE_DECODER, REFERENCE_RESIZE, decode, digests, framed, to_tensor
from bitproof.settings import describe, digest
from bitproof.shifts import CifarC, Corruption, ImageNetC, ImageNetP, Inference, Pipeline, Released, Sequence

Shift = Clean | Corruption | Sequence | Pipeline | Inference | Released
MOVING = (Sequence, ImageNetP)
Rows = NDArray[np.int64]

FRAMES = 31
"""How many frames a sequence has, about: what a batch is divided by."""

MOST_FRAMES = 41
"""The frames of the longest sequence, which a place in shared memory has room for."""

UNIT_BYTES = 2**22
"""Of the images that a worker makes and hands over at once."""

ROOM_BYTES = 3 * 2**24
"""Of the memory that workers share with this process: less than the 64 MiB that a container has by default."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The images of some examples under a condition, made once for all models.

    Attributes:
        read: int64 [n], positions of the examples whose own pictures can be decoded.
        rows: int64 [m], those of them that the condition could be made of.
        frames: float32 [m, f, c, h, w] in [0, 1], one frame for all but sequences.
        distances: float32 [m] by norm, of the first frames from the clean images.
        digests: uint64 [m], `pictures.pixels.digests` of the frames.
    """

    read: Rows
    rows: Rows
    frames: Float[Tensor, "m f c h w"]
    distances: dict[str, NDArray[np.float32]]
    digests: NDArray[np.uint64]


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

    def batches(self, condition: Shift, size: int) -> Iterator[Batch]:
        """The examples' images in order, `size` at a time.

        Raises:
            InputError: images outside [0, 1] or of another shape, no example that can be read, a worker that died.
        """
        n, read, made = len(self.data), 0, 0
        if not self.workers:
            parts = (make(condition, self.data, self.seed, rows) for rows in chunks(np.arange(n), size))
        else:
            parts = self._from_workers(condition, size)
        for batch in parts:
            read, made = read + len(batch.read), made + len(batch.rows)
            if len(batch.read):
                yield batch
        if not read:
            name, reason = next(iter(self.data.left_out.items()))
            raise InputError(
                f"none of the {n} pictures of {self.data.name!r} can be read",
                rule=f"a result needs at least one; {name} {reason}",
                remedy="Check the files",
            )
        if not made:
            raise InputError(
                f"shift {condition.label!r} could not be made of any picture",
                rule="a result needs at least one that can be decoded under it",
                remedy="Check its files and its decoder, or leave the condition out",
            )

    def close(self) -> None:
        """End the worker processes."""
        if "_pool" in self.__dict__:
            self._pool.shutdown(cancel_futures=True)
            self._room.close()
            self._room.unlink()

    @cached_property
    def _room(self) -> SharedMemory:
        return SharedMemory(create=True, size=ROOM_BYTES)

    @cached_property
    def _pool(self) -> ProcessPoolExecutor:
        # Not forked: a child inherits the locks of threads that it does not have.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.workers, context, _prepare, (self.data, self.seed, self._room.name))

    def _from_workers(self, condition: Shift, size: int) -> Iterator[Batch]:
        """Batches put together from units, each of which has a place in shared memory while it is under way."""
        image = 4 * math.prod(self.data.shape) * (MOST_FRAMES if isinstance(condition, MOVING) else 1)
        unit = min(size, max(1, UNIT_BYTES // image))
        places = deque(range(0, ROOM_BYTES - unit * image + 1, unit * image) or range(1))
        batches = [list(chunks(rows, unit)) for rows in chunks(np.arange(len(self.data)), size)]
        units = iter([part for batch in batches for part in batch])
        waiting: deque[tuple[int, Future[_Handed]]] = deque()
        try:
            for batch in batches:
                parts: list[Batch] = []
                while len(parts) < len(batch):
                    while places and len(waiting) < 2 * self.workers and (rows := next(units, None)) is not None:
                        place = places.popleft()
                        waiting.append((place, self._pool.submit(_hand_over, condition, rows, place, unit * image)))
                    place, future = waiting.popleft()
                    parts.append(self._received(future.result(), place))
                    places.append(place)
                yield _joined(parts)
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process ended before its work was done",
                rule="each needs memory, and all of them share 48 MiB of /dev/shm with this process",
                remedy="Use fewer workers, or none, or give the container more memory",
            ) from error

    def _received(self, handed: "_Handed", place: int) -> Batch:
        batch, left_out, shape = handed
        self.data.left_out.update(left_out)
        if shape is None:
            return batch
        shared = np.ndarray(shape, np.float32, self._room.buf, place)
        return replace(batch, frames=torch.from_numpy(shared.copy()))


def make(condition: Shift, data: Data, seed: int, rows: Rows) -> Batch:
    """The images of the examples at `rows`.

    Raises:
        InputError: images outside [0, 1] or of another shape.
    """
    read, clean = data.read(rows)
    check_images(clean, data.shape, f"data set {data.name!r}")
    if not len(read):
        return Batch(
            read=read, rows=read, frames=clean[:, None], distances=measured(clean, clean), digests=digests(clean)
        )
    made, tested = _tested(condition, data, seed, read, clean)
    frames = tested if isinstance(condition, MOVING) else tested[:, None]
    check_images(frames.flatten(0, 1), data.shape, f"shift {condition.label!r}")
    distances = measured(
        clean if made.all() else clean[torch.from_numpy(made)], tested if frames is not tested else tested[:, 0]
    )
    return Batch(read=read, rows=read[made], frames=frames, distances=distances, digests=digests(frames))


def measured(clean: Tensor, tested: Tensor) -> dict[str, NDArray[np.float32]]:
    """How far each image is from its clean one, under every norm."""
    if tested is clean:
        return {norm: np.zeros(len(clean), np.float32) for norm in BALLS}
    delta = tested - clean
    return {norm: ball.norm(delta).cpu().numpy() for norm, ball in BALLS.items()}


def chunks(rows: Rows, size: int) -> Iterator[Rows]:
    """The rows in order, `size` at a time."""
    return (rows[i : i + size] for i in range(0, len(rows), size))


def keyed(condition: Attack | Shift, data: Data, seed: int) -> Rng:
    """The randomness of all examples under a condition."""
    return Rng(seed, data.ids, (digest(describe(condition)),))


def check_images(images: Tensor, shape: tuple[int, int, int], source: str) -> None:
    """Refuse what no model is tested on.

    Raises:
        InputError: another shape than [n, *shape], or values outside [0, 1].
    """
    if tuple(images.shape[1:]) != shape:
        raise InputError(
            f"{source} gave images of shape {tuple(images.shape[1:])}",
            rule=f"images of this data set have shape {shape}",
            remedy="Check its size setting",
        )
    if not len(images):
        return
    low, high = (v.item() for v in torch.aminmax(images))
    if not (low >= 0 and high <= 1):  # catches NaN too
        raise InputError(
            f"{source} gave values from {low:.4g} to {high:.4g}",
            rule="images lie in [0, 1]; normalisation is the model's first layer",
            remedy="Divide 8-bit images by 255 and clip what a method returns",
        )


def _tested(condition: Shift, data: Data, seed: int, rows: Rows, clean: Tensor) -> tuple[NDArray[np.bool_], Tensor]:
    """Which of the readable examples at `rows` the condition can be made of, and the images of these."""
    every = np.ones(len(rows), bool)
    match condition:
        case Clean() | Inference():
            return every, clean
        case Corruption():
            return every, condition(clean, rng=keyed(condition, data, seed).select(rows))
        case Sequence():
            source = _uncut(data, rows) if condition.wide else clean
            return every, condition(source, rng=keyed(condition, data, seed).select(rows), size=data.shape[1:])
        case Pipeline():
            return _each(rows, data, lambda row: condition(data.encoded(row), framing=data.framing))
        case CifarC():
            return every, to_tensor(condition(rows, data.labels, size=data.shape[1:]))
        case ImageNetC():
            return _each(rows, data, lambda row: condition(_file(data, row), size=data.shape[1:]))
        case ImageNetP():
            made, frames = _each(
                rows, data, lambda row: np.concatenate(condition(_file(data, row), size=data.shape[1:]))
            )
            return made, frames.unflatten(2, (-1, data.shape[1])).transpose(1, 2)


def _file(data: Data, row: int) -> str:
    if not isinstance(data, FolderData):
        raise InputError(
            f"data set {data.name!r} has no files",
            rule="released files belong to the picture that is called as they are",
            remedy="Load the data from a folder of images, as imagenet:ROOT",
        )
    return data.files[row]


def _each(
    rows: Rows, data: Data, picture: Callable[[int], UInt8[np.ndarray, "h w c"]]
) -> tuple[NDArray[np.bool_], Float[Tensor, "m c h w"]]:
    """What is made of one file after the other, where files may be refused."""
    made, pictures = np.zeros(len(rows), bool), []
    for i, row in enumerate(rows.tolist()):
        with suppress(UnreadableError):
            pictures.append(picture(row))
            made[i] = True
    return made, to_tensor(np.stack(pictures)) if pictures else torch.empty(0, *data.shape)


def _uncut(data: Data, rows: Rows) -> Float[Tensor, "n c h w"]:
    """The examples before the centre crop: squares of the length that the shorter side is resized to."""
    if data.framing.shorter is None:
        return data.images(rows)
    square = replace(data.framing, height=data.framing.shorter, width=data.framing.shorter)
    files = [decode(data.encoded(int(row)), REFERENCE_DECODER, channels=square.channels) for row in rows]
    return to_tensor(np.stack([framed(picture, square, REFERENCE_RESIZE) for picture in files]))


def _joined(parts: list[Batch]) -> Batch:
    return Batch(
        read=np.concatenate([part.read for part in parts]),
        rows=np.concatenate([part.rows for part in parts]),
        frames=torch.cat([part.frames for part in parts if len(part.rows)] or [parts[0].frames]),
        distances={norm: np.concatenate([part.distances[norm] for part in parts]) for norm in BALLS},
        digests=np.concatenate([part.digests for part in parts]),
    )


# ---- in a worker --------------------------------------------------------------------------------------------

_Handed = tuple[Batch, dict[str, str], tuple[int, ...] | None]
"""A batch, the files left out, and the shape of the frames where they lie in shared memory."""

_worker: tuple[Data, int, SharedMemory]


def _prepare(data: Data, seed: int, room: str) -> None:
    global _worker
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keep_freed_memory()
    _worker = data, seed, SharedMemory(room)


def _hand_over(condition: Shift, rows: Rows, place: int, most: int) -> _Handed:
    data, seed, room = _worker
    batch = make(condition, data, seed, rows)
    frames = batch.frames.numpy()
    if not 0 < frames.nbytes <= min(most, room.size - place):
        return batch, data.left_out, None
    np.ndarray(frames.shape, np.float32, room.buf, place)[:] = frames
    return replace(batch, frames=batch.frames[:0]), data.left_out, frames.shape
