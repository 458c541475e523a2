"""Some examples in every form that a shift may start from: images, encoded files, uncut pictures, names of files."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from bitproof.data.base import Data
from bitproof.errors import InputError
from bitproof.pictures.pixels import REFERENCE_DECODER, Framing, decode, framed, to_tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Examples of a data set whose pictures can be decoded.

    Attributes:
        data: where they are from.
        rows: int64 [n], their positions there.
        images: float32 [n, c, h, w] in [0, 1], as the model sees them.
    """

    data: Data
    rows: Int64[np.ndarray, " n"]
    images: Float[Tensor, "n c h w"]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> Int64[np.ndarray, " n"]:
        """Each example's number in its split."""
        return self.data.ids[self.rows]

    @property
    def labels(self) -> Int64[np.ndarray, " n"]:
        """Class numbers."""
        return self.data.labels[self.rows]

    @property
    def framing(self) -> Framing:
        """How a picture becomes the model's input."""
        return self.data.framing

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the model's input."""
        return self.data.shape[1], self.data.shape[2]

    def encoded(self, i: int) -> bytes:
        """The file of example i, 0 to n - 1."""
        return self.data.encoded(int(self.rows[i]))

    def file(self, i: int) -> str:
        """The path of example i's file below the folder of the data set.

        Raises:
            InputError: the data have no files.
        """
        file = self.data.file(int(self.rows[i]))
        if file is None:
            raise InputError(
                f"data set {self.data.name!r} has no files",
                rule="released files belong to the picture that is called as they are",
                remedy="Load the data from a folder of images, as imagenet:ROOT",
            )
        return file

    def uncut(self) -> Float[Tensor, "n c h2 w2"]:
        """The pictures before the centre crop: squares of the length that the shorter side is resized to."""
        if self.framing.shorter is None:
            return self.images
        square = replace(self.framing, height=self.framing.shorter, width=self.framing.shorter)
        pictures = []
        for i in range(len(self)):
            source = self.data.file(int(self.rows[i])) or f"picture {self.ids[i]} of {self.data.name}"
            picture = decode(self.encoded(i), REFERENCE_DECODER, channels=square.channels, source=source)
            pictures.append(framed(picture, square, square.resize))
        return to_tensor(np.stack(pictures))
