"""SVHN (Netzer et al. 2011), format 2: the cropped digits in `train_32x32.mat` and `test_32x32.mat`.

Each file holds the pictures X, uint8 [32, 32, 3, n], and the labels y, [n, 1] in 1..10, where 10 is the digit 0.
"""

from pathlib import Path

import numpy as np

from bitproof.data.arrays import ArrayData
from bitproof.data.matfile import read_matrix
from bitproof.errors import InputError, lookup
from bitproof.pictures.pixels import Framing

_FILES = {"test": "test_32x32.mat", "train": "train_32x32.mat"}
_AGAIN = "Get the official file again, from http://ufldl.stanford.edu/housenumbers"


def load_svhn(root: Path | None, *, split: str = "test", limit: int | None = None) -> ArrayData:
    """SVHN's cropped digits from `root`, the folder of the two official files; label 10 becomes 0.

    Raises:
        InputError: no such folder, an unknown split, or a file that is missing or not what it should be.
    """
    name = lookup(_FILES, split, "split of svhn")
    if root is None:
        raise InputError("svhn needs a root", rule="it reads train_32x32.mat and test_32x32.mat", remedy=_AGAIN)
    path = root / name
    if not path.is_file():
        raise InputError(f"{path} is missing", rule="the split is read from this file", remedy=_AGAIN)
    pictures = read_matrix(path, "X", first=limit)
    labels = read_matrix(path, "y")
    if pictures.ndim != 4 or pictures.shape[:3] != (32, 32, 3) or pictures.dtype != np.uint8:
        raise InputError(
            f"X in {path} is {pictures.dtype} {list(pictures.shape)}", rule="it is uint8 [32, 32, 3, n]", remedy=_AGAIN
        )
    if labels.ndim != 2 or labels.shape[1] != 1 or len(labels[:limit]) != pictures.shape[3]:
        raise InputError(f"y in {path} is {list(labels.shape)}", rule="it has a row for each picture", remedy=_AGAIN)
    if not np.isin(labels, range(1, 11)).all():
        raise InputError(f"y in {path} holds other values", rule="labels are 1..10", remedy=_AGAIN)
    return ArrayData(
        name="svhn",
        split=split,
        classes=tuple("0123456789"),
        labels=labels[:limit, 0].astype(np.int64) % 10,
        framing=Framing(channels=3, height=32, width=32),
        pictures=np.ascontiguousarray(pictures.transpose(3, 0, 1, 2)),
    )
