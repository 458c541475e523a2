"""Arrays in a NumPy archive (.npz), as Keras and MedMNIST publish their data sets, and as anybody saves their own."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitproof import reading
from bitproof.data.arrays import ArrayData, from_arrays
from bitproof.data.base import counted
from bitproof.errors import InputError, lookup
from bitproof.reading import refusing

MOST_BYTES = 2**34
"""Of all arrays together."""

_SPLITS: dict[str, None] = dict.fromkeys(("test", "train"))
_PLAIN = (("images", "labels"), ("x", "y"), ("X", "y"), ("data", "labels"), ("arr_0", "arr_1"))


def load_npz(
    file: Path | None,
    *,
    split: str = "test",
    limit: int | None = None,
    classes: Sequence[str] | None = None,
) -> ArrayData:
    """Images and labels of an archive.

    The arrays are found by name: `x_test` and `y_test` or `test_images` and `test_labels` of a split, else `images` and
    `labels`, `x` and `y`, `data` and `labels`, or the two that `numpy.savez` was given, which are one split, whatever
    it is called.

    Args:
        file: images are [n, h, w], [n, h, w, c] or [n, c, h, w], uint8 or floats in [0, 1]; labels are whole numbers.
        split: "test" or "train".
        classes: their names, one for each output of a model.

    Raises:
        InputError: no such file, or arrays that are missing or are no images and labels.
    """
    if file is None or not file.is_file():
        raise InputError(
            f"npz:{file or ''} is no file", rule="it reads an archive of arrays", remedy="Write npz:FILE.npz"
        )
    lookup(_SPLITS, split, "split of npz")
    given = classes
    with (
        refusing(file, rule="it is what numpy.savez wrote, of numbers alone", remedy="Save it again"),
        file.open("rb") as stored,
        reading.opened(stored, most=MOST_BYTES) as archive,
    ):
        pair = _pair([name.removesuffix(".npy") for name in archive.namelist()], split, file)
        images, labels = (reading.unpacked(reading.member(archive, f"{name}.npy")) for name in pair)
    if classes is None and limit is not None and labels.size and labels.dtype.kind in "iu":
        classes = counted(int(labels.max()))  # of all labels, not of the first alone
    found = from_arrays(_channels_first(images[:limit]), labels[:limit], classes=classes, name=file.stem, split=split)
    return replace(found, open=given is None)


def _pair(names: Sequence[str], split: str, file: Path) -> tuple[str, str]:
    """What the images and the labels of a split are called."""
    of_split = [
        *((f"{x}_{split}", f"{y}_{split}") for x, y in _PLAIN),
        *((f"{split}_{x}", f"{split}_{y}") for x, y in _PLAIN),
    ]
    has_splits = any(word in name for name in names for word in ("train", "test"))
    for images, labels in (*of_split, *(() if has_splits else _PLAIN)):
        if images in names and labels in names:
            return images, labels
    raise InputError(
        f"{file} holds the arrays {', '.join(names) or 'of none'}",
        rule=f"images and labels are called x_{split} and y_{split}, {split}_images and {split}_labels, or images and "
        "labels",
        remedy="Save them under these names: numpy.savez(file, images=..., labels=...)",
    )


def _channels_first(images: NDArray[np.generic]) -> NDArray[np.generic]:
    if images.ndim == 3:
        return images[:, None]
    last = images.ndim == 4 and images.shape[3] in (1, 3, 4) and images.shape[1] not in (1, 3)
    return images.transpose(0, 3, 1, 2) if last else images
