"""ImageNet-C as released: JPEG files in folders by corruption, severity and class."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from bitproof.core.rng import Rng
from bitproof.data.examples import Examples
from bitproof.pictures.pixels import REFERENCE_DECODER, decode
from bitproof.shifts.base import Made, made_one_by_one
from bitproof.shifts.released.files import ReleasedCorruption, Size, folder_of, listed, missing, other_size, stored_as


@dataclass(frozen=True, kw_only=True)
class ImageNetC(ReleasedCorruption):
    """A corruption of ImageNet-C: the folder `corruption/severity/wnid/*.JPEG`, files called as those of ImageNet.

    Attributes:
        root: the folder of the corruptions, or of their four groups (noise, blur, weather, digital).
        corruption: as on the command line, e.g. "gaussian-noise".
        severity: 1 (mild) to 5 (strong).

    Raises:
        InputError: an unknown corruption or severity.

    Example:
        >>> ImageNetC(root="ImageNet-C", corruption="jpeg", severity=5).label
        'jpeg 5 released'
    """

    def hashed(self) -> str:
        """Hash of the files' names and sizes."""
        return listed(folder_of(self.root, stored_as(self.corruption)) / str(self.severity))

    def __call__(self, file: str, *, size: Size) -> UInt8[np.ndarray, "h w 3"]:
        """The corrupted copy of `file`, "wnid/name.JPEG", decoded by Pillow; it must be of the given size.

        Raises:
            InputError: no such file, or one of another size.
            UnreadableError: a file that cannot be decoded.
        """
        path = folder_of(self.root, stored_as(self.corruption)) / str(self.severity) / file
        picture = decode(_bytes(path), REFERENCE_DECODER, channels=3, source=str(path))
        if picture.shape[:2] != size:
            raise other_size(str(path), picture.shape[:2], size)
        return picture

    def make(self, examples: Examples, *, rng: Rng) -> Made:
        return made_one_by_one(examples, lambda i: self(examples.file(i), size=examples.size))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise missing(path) from error
