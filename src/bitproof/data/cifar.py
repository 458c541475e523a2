"""What CIFAR-10 and CIFAR-100 (Krizhevsky 2009) share: two official layouts, rows of bytes and pickles."""

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

AGAIN = "Unpack the official archive again, from https://www.cs.toronto.edu/~kriz/cifar.html"
_PIXELS = 3 * 32 * 32  # the red, green and blue planes

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Planes [n, 3072] and labels [n]."""


@dataclass(frozen=True, kw_only=True)
class Cifar:
    """What sets one of the two apart.

    Attributes:
        name, title: in the table of data sets, and for people.
        classes: their number.
        files: the files of each split, without suffix.
        rows: the most examples in a file.
        label: what pickles call a label; with "s" the labels and with "_names" the classes.
        label_bytes: bytes before the planes in a binary row, of which the last is the label.
        layouts: both layouts.
    """

    name: str
    title: str
    classes: int
    files: dict[str, tuple[str, ...]]
    rows: int
    label: str
    label_bytes: int
    layouts: tuple["Layout", ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way in which the files lie on disk.

    Attributes:
        folder: its official name.
        meta: the file of the class names, by which the layout is known.
        suffix: of the other files.
        read_classes: the names from `meta`.
        read_batch: the examples of a file, or the first so many of them.
    """

    folder: str
    meta: str
    suffix: str
    read_classes: Callable[[Path, Cifar], tuple[str, ...]]
    read_batch: Callable[[Path, Cifar, int | None], Batch]


def binary(folder: str, meta: str) -> Layout:
    """Rows of bytes: labels, then planes."""
    return Layout(folder=folder, meta=meta, suffix=".bin", read_classes=_binary_classes, read_batch=_binary_batch)


def pickles(folder: str, meta: str) -> Layout:
    """Python pickles, which are read without running them."""
    return Layout(folder=folder, meta=meta, suffix="", read_classes=_python_classes, read_batch=_python_batch)


def load_cifar(cifar: Cifar, root: Path | None, *, split: str, limit: int | None) -> ArrayData:
    """The data set from `root`, which is one of its official folders or holds one.

    Raises:
        InputError: no such folder, an unknown split, or a file that is missing or not what it should be.
    """
    names = lookup(cifar.files, split, f"split of {cifar.name}")
    folder, layout = _find(cifar, root)
    classes = layout.read_classes(_existing(folder / layout.meta), cifar)
    if len(classes) != cifar.classes:
        raise InputError(
            f"{folder / layout.meta} names {len(classes)} classes",
            rule=f"{cifar.title} has {cifar.classes}",
            remedy=AGAIN,
        )
    pixels, labels, count = [], [], 0
    for name in names:
        if limit is not None and count >= limit:
            break
        path = _existing(folder / (name + layout.suffix))
        batch = layout.read_batch(path, cifar, None if limit is None else limit - count)
        if batch[1].max() >= cifar.classes:
            raise InputError(
                f"{path} has the label {batch[1].max()}", rule=f"labels are 0..{cifar.classes - 1}", remedy=AGAIN
            )
        pixels.append(batch[0])
        labels.append(batch[1])
        count += len(batch[1])
    planes = np.concatenate(pixels).reshape(-1, 3, 32, 32)
    return ArrayData(
        name=cifar.name,
        split=split,
        classes=classes,
        labels=np.concatenate(labels),
        framing=Framing(channels=3, height=32, width=32),
        pictures=np.ascontiguousarray(planes.transpose(0, 2, 3, 1)),
    )


def _find(cifar: Cifar, root: Path | None) -> tuple[Path, Layout]:
    for layout in cifar.layouts:
        for folder in () if root is None else (root, root / layout.folder):
            if (folder / layout.meta).is_file():
                return folder, layout
    one, other = cifar.layouts
    raise InputError(
        f"{cifar.name} needs a root" if root is None else f"{root} holds no {cifar.title}",
        rule=f"the root must be or contain {one.folder} (with {one.meta}) or {other.folder} (with {other.meta})",
        remedy=AGAIN,
    )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path} is missing", rule="the split is read from this file", remedy=AGAIN)
    return path


def _binary_classes(path: Path, cifar: Cifar) -> tuple[str, ...]:
    with path.open("rb") as file:
        return tuple(file.read(100 * cifar.classes).decode("utf-8", "replace").split())


def _binary_batch(path: Path, cifar: Cifar, limit: int | None) -> Batch:
    size, row = path.stat().st_size, cifar.label_bytes + _PIXELS
    if size % row or not 0 < size <= cifar.rows * row:
        raise InputError(
            f"{path} has {size:,} bytes",
            rule=f"a batch holds 1 to {cifar.rows:,} rows of {row:,} bytes",
            remedy=AGAIN,
        )
    rows = np.fromfile(path, np.uint8, -1 if limit is None else limit * row).reshape(-1, row)
    return rows[:, cifar.label_bytes :], rows[:, cifar.label_bytes - 1].astype(np.int64)


def _python_classes(path: Path, cifar: Cifar) -> tuple[str, ...]:
    key = f"{cifar.label}_names"
    names = read_pickled(path).get(key)
    if not isinstance(names, list) or not all(isinstance(name, str | bytes) for name in names):
        raise InputError(f"{path} has no {key}", rule="it must list the class names", remedy=AGAIN)
    return tuple(name.decode("latin1") if isinstance(name, bytes) else name for name in names)


def _python_batch(path: Path, cifar: Cifar, limit: int | None) -> Batch:
    key = f"{cifar.label}s"
    stored = read_pickled(path, largest=2 * cifar.rows * _PIXELS)
    pixels, labels = stored.get("data"), stored.get(key, ())
    if not (isinstance(pixels, Array) and _is_batch(pixels.values, labels, cifar.rows)):
        raise InputError(
            f"{path} does not hold a batch",
            rule=f"`data` must be uint8 [n, {_PIXELS}] and `{key}` n class numbers, n from 1 to {cifar.rows:,}",
            remedy=AGAIN,
        )
    return pixels.values[:limit], np.array(labels[:limit], np.int64)


def _is_batch(pixels: NDArray[np.uint8], labels: Any, most: int) -> bool:
    return (
        isinstance(labels, list)
        and all(type(label) is int and 0 <= label < 256 for label in labels)
        and 0 < len(labels) <= most
        and pixels.shape == (len(labels), _PIXELS)
    )
