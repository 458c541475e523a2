"""CIFAR-10-C and CIFAR-100-C as released: an array of pictures a corruption, five severities one after the other."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray

from bitproof.core.rng import Rng
from bitproof.data.examples import Examples
from bitproof.errors import InputError
from bitproof.pictures.pixels import to_tensor
from bitproof.reading import mapped, refusing
from bitproof.shifts.base import Made, all_made
from bitproof.shifts.released.files import ReleasedCorruption, Size, other_size, stored_as


@dataclass(frozen=True, kw_only=True)
class CifarC(ReleasedCorruption):
    """A corruption of CIFAR-10-C or CIFAR-100-C: `labels.npy` and an array of five severities each.

    Attributes:
        root: the folder of the arrays.
        corruption: as on the command line, e.g. "gaussian-noise".
        severity: 1 (mild) to 5 (strong).

    Raises:
        InputError: an unknown corruption or severity.

    Example:
        >>> CifarC(root="CIFAR-10-C", corruption="fog", severity=2).label
        'fog 2 released'
    """

    def hashed(self) -> str:
        """Hash of the arrays."""
        paths = [Path(self.root) / f"{name}.npy" for name in (stored_as(self.corruption), "labels")]
        return "".join(_hashed(path, path.stat().st_mtime_ns) for path in paths if path.is_file())

    def __call__(
        self, rows: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " all"], *, size: Size
    ) -> UInt8[np.ndarray, "n h w c"]:
        """The corrupted pictures at `rows`.

        Args:
            labels: of the whole data set, which must be the first of the official test batch in its order; -1 = not
                among the data.
            size: of the data's pictures.

        Raises:
            InputError: a file that is missing or of another layout, other labels, or another size.
        """
        path = Path(self.root) / f"{stored_as(self.corruption)}.npy"
        pictures, known = _array(path), _array(Path(self.root) / "labels.npy")
        count = pictures.shape[0] // 5 if pictures.ndim else 0
        if (
            pictures.ndim != 4
            or pictures.dtype != np.uint8
            or pictures.shape[3] != 3
            or known.shape != (5 * count,)
            or known.dtype.kind not in "iu"
        ):
            raise InputError(
                f"{path} holds {pictures.dtype} {list(pictures.shape)} and labels.npy {list(known.shape)}",
                rule="five severities follow each other, uint8 [5 n, height, width, 3] and labels [5 n]",
                remedy="Use the released files",
            )
        if pictures.shape[1:3] != size:
            raise other_size(str(path), pictures.shape[1:3], size)
        known = known[(self.severity - 1) * count :][: min(count, len(labels))]
        differ = (known != labels) & (labels >= 0) if len(labels) <= count else np.ones(1, bool)
        if differ.any():
            raise InputError(
                f"{Path(self.root) / 'labels.npy'} has other labels than the data"
                + (f", first at example {np.flatnonzero(differ)[0]}" if len(labels) <= count else ""),
                rule="the data must be the official test images in their official order",
                remedy="Load the official test split, or its first part with a limit",
            )
        return np.asarray(pictures[(self.severity - 1) * count + rows])

    def make(self, examples: Examples, *, rng: Rng) -> Made:
        ids = examples.data.ids
        labels = np.full(int(ids.max()) + 1, -1)
        labels[ids] = examples.data.labels
        return all_made(to_tensor(self(examples.ids, labels, size=examples.size)))


def _array(path: Path) -> NDArray[np.generic]:
    """An array that stays on the disk until its entries are asked for."""
    with refusing(
        path,
        rule="a corruption is a .npy file of its name, beside labels.npy; pickled objects are never read",
        remedy="Check the path, or use the released files",
    ):
        return _opened(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=32)
def _opened(path: Path, changed: int) -> NDArray[np.generic]:
    """The array in a file as it was when it was last `changed`."""
    return mapped(path)


@lru_cache(maxsize=64)
def _hashed(path: Path, changed: int) -> str:
    """The hash of a file as it was when it was last `changed`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
