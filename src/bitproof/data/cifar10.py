"""CIFAR-10 (Krizhevsky 2009) in either official layout: `cifar-10-batches-bin` or `cifar-10-batches-py`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitproof.data.arrays import ArrayData
from bitproof.data.pickled import Array, read_pickled
from bitproof.errors import InputError, lookup
from bitproof.pictures.pixels import Framing

_PIXELS = 3 * 32 * 32
_ROW = 1 + _PIXELS  # binary layout: the label, then the red, green and blue planes
_MOST = 10_000  # examples a file
_BATCHES = {"test": ("test_batch",), "train": tuple(f"data_batch_{i}" for i in range(1, 6))}
_AGAIN = "Unpack the official archive again, from https://www.cs.toronto.edu/~kriz/cifar.html"

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]


def load_cifar10(root: Path | None, *, split: str = "test", limit: int | None = None) -> ArrayData:
    """CIFAR-10 from `root`, which is one of the two official folders or holds one.

    Raises:
        InputError: no such folder, an unknown split, or a file that is missing or not what it should be.
    """
    names = lookup(_BATCHES, split, "split of cifar10")
    folder, layout = _find(root)
    classes = layout.classes(_existing(folder / layout.meta))
    if len(classes) != 10:
        raise InputError(f"{folder / layout.meta} names {len(classes)} classes", rule="CIFAR-10 has 10", remedy=_AGAIN)
    pixels, labels, count = [], [], 0
    for name in names:
        if limit is not None and count >= limit:
            break
        path = _existing(folder / (name + layout.suffix))
        batch = layout.batch(path)
        if batch[1].max() >= len(classes):
            raise InputError(f"{path} has the label {batch[1].max()}", rule="labels are 0..9", remedy=_AGAIN)
        pixels.append(batch[0])
        labels.append(batch[1])
        count += len(batch[1])
    planes = np.concatenate(pixels)[:limit].reshape(-1, 3, 32, 32)
    return ArrayData(
        name="cifar10",
        split=split,
        classes=classes,
        labels=np.concatenate(labels)[:limit],
        framing=Framing(channels=3, height=32, width=32),
        pictures=np.ascontiguousarray(planes.transpose(0, 2, 3, 1)),
    )


@dataclass(frozen=True, kw_only=True)
class _Layout:
    folder: str
    meta: str
    suffix: str
    classes: Callable[[Path], tuple[str, ...]]
    batch: Callable[[Path], Batch]


def _find(root: Path | None) -> tuple[Path, _Layout]:
    for layout in _LAYOUTS:
        for folder in () if root is None else (root, root / layout.folder):
            if (folder / layout.meta).is_file():
                return folder, layout
    raise InputError(
        "cifar10 needs a root" if root is None else f"{root} holds no CIFAR-10",
        rule="the root must be or contain cifar-10-batches-bin or cifar-10-batches-py (with their batches.meta file)",
        remedy=_AGAIN,
    )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path} is missing", rule="the split is read from this file", remedy=_AGAIN)
    return path


def _binary_classes(path: Path) -> tuple[str, ...]:
    with path.open("rb") as file:
        return tuple(file.read(1000).decode("utf-8", "replace").split())


def _binary_batch(path: Path) -> Batch:
    size = path.stat().st_size
    if size % _ROW or not 0 < size <= _MOST * _ROW:
        raise InputError(
            f"{path} has {size:,} bytes",
            rule=f"a batch holds 1 to {_MOST:,} rows of {_ROW:,} bytes",
            remedy=_AGAIN,
        )
    rows = np.fromfile(path, np.uint8).reshape(-1, _ROW)
    return rows[:, 1:], rows[:, 0].astype(np.int64)


def _python_classes(path: Path) -> tuple[str, ...]:
    names = read_pickled(path).get("label_names")
    if not isinstance(names, list) or not all(isinstance(name, str | bytes) for name in names):
        raise InputError(f"{path} has no label_names", rule="it must list the class names", remedy=_AGAIN)
    return tuple(name.decode("latin1") if isinstance(name, bytes) else name for name in names)


def _python_batch(path: Path) -> Batch:
    stored = read_pickled(path)
    pixels, labels = stored.get("data"), stored.get("labels")
    if not (isinstance(pixels, Array) and _is_batch(pixels.values, labels)):
        raise InputError(
            f"{path} does not hold a batch",
            rule=f"`data` must be uint8 [n, {_PIXELS}] and `labels` n class numbers, n from 1 to {_MOST:,}",
            remedy=_AGAIN,
        )
    return pixels.values, np.array(labels, np.int64)


def _is_batch(pixels: NDArray[np.uint8], labels: Any) -> bool:
    return (
        isinstance(labels, list)
        and all(type(label) is int and 0 <= label < 256 for label in labels)
        and 0 < len(labels) <= _MOST
        and pixels.shape == (len(labels), _PIXELS)
    )


_LAYOUTS = (
    _Layout(
        folder="cifar-10-batches-bin",
        meta="batches.meta.txt",
        suffix=".bin",
        classes=_binary_classes,
        batch=_binary_batch,
    ),
    _Layout(folder="cifar-10-batches-py", meta="batches.meta", suffix="", classes=_python_classes, batch=_python_batch),
)
