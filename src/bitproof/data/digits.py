"""The embedded data: 1,797 handwritten digits of scikit-learn (UCI optical recognition, Alpaydin & Kaynak 1998).

The native pictures are 8x8 grey. A model sees them enlarged to 20x20, so that even here there is a
deployment resize whose method systematic conditions can vary.
"""

from pathlib import Path

import numpy as np

from bitproof.data.arrays import ArrayData
from bitproof.errors import InputError, lookup
from bitproof.pictures.pixels import Framing


def load_digits(root: Path | None = None, *, split: str = "test", limit: int | None = None) -> ArrayData:
    """The digits; "test" is every fourth (449), "train" the other 1,348.

    Raises:
        InputError: an unknown split, or a root.
    """
    import sklearn.datasets  # about a second, which no other command should pay

    if root is not None:
        raise InputError(f"root is {root}", rule="the digits are embedded", remedy="Leave root out")
    values, labels = map(np.asarray, sklearn.datasets.load_digits(return_X_y=True))
    tested = np.arange(len(labels)) % 4 == 3
    rows = np.flatnonzero(lookup({"test": tested, "train": ~tested}, split, "split of digits"))[:limit]
    return ArrayData(
        name="digits",
        split=split,
        classes=tuple("0123456789"),
        labels=labels[rows].astype(np.int64),
        framing=Framing(channels=1, height=20, width=20),
        pictures=np.rint(values[rows].reshape(-1, 8, 8, 1) * 255 / 16).astype(np.uint8),  # they hold 0..16
    )
