"""Pictures in memory: the user's own arrays, and data sets small enough to be read at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from numpy.typing import NDArray
from torch import Tensor

from bitproof.core.calling import ROUNDING
from bitproof.data.base import MOST_CLASSES, Data, Read, Rows, composed, counted
from bitproof.errors import InputError
from bitproof.pictures.pixels import Framing, encode_png, framed, to_tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ArrayData(Data):
    """Examples held in memory.

    Attributes:
        pictures: uint8 [n, h, w, c], the native pictures; their size may differ from the model's input.
        exact: float32 [n, c, h, w] in [0, 1] of the model's size, where the images are finer than 8 bits:
            `images` gives these, while `encoded` files, like all files, hold 8 bits.
    """

    pictures: UInt8[np.ndarray, "n h w c"]
    exact: Float32[np.ndarray, "n c h2 w2"] | None = None

    @cached_property
    def _framed(self) -> UInt8[np.ndarray, "n h w c"]:
        if self.pictures.shape[1:3] == self.shape[1:]:
            return self.pictures
        return np.stack([framed(picture, self.framing, self.framing.resize) for picture in self.pictures])

    def images(self, rows: Rows) -> Float[Tensor, "n c h w"]:
        positions = np.asarray(rows, np.int64)
        if self.exact is not None:
            return torch.from_numpy(self.exact[positions])
        return to_tensor(self._framed[positions])

    def read(self, rows: Rows) -> Read:
        return Read(rows=np.asarray(rows, np.int64), images=self.images(rows))

    def encoded(self, row: int) -> bytes:
        return encode_png(self.pictures[row])

    def file(self, row: int) -> str | None:
        return None

    def content(self) -> Iterator[bytes | memoryview]:
        yield repr(self.pictures.shape).encode()
        yield np.ascontiguousarray(self.pictures).data
        if self.exact is not None:
            yield np.ascontiguousarray(self.exact, "<f4").data


def from_arrays(
    images: NDArray[Any] | Tensor,
    labels: NDArray[Any] | Tensor | Sequence[int],
    *,
    classes: Sequence[str] | None = None,
    name: str = "arrays",
    split: str = "test",
) -> ArrayData:
    """A data set from pictures in memory, which are copied.

    Args:
        images: [n, c, h, w]; uint8 in 0..255, or float in [0, 1], give or take 1e-6. With c = 1 (grey) or 3 (RGB) all
            conditions can be made of them; with another number of channels, attacks and shifts of one's own.
        labels: integers [n] or [n, 1] in 0..k-1.
        classes: the k class names, one for each output of a model; by default "0", "1", ... up to the largest label,
            and a model may have more outputs.

    Raises:
        InputError: another shape or dtype, floats that are not finite or not in [0, 1], labels that are
            no classes, or none at all.

    Example:
        >>> data = from_arrays(np.zeros((2, 3, 8, 8), np.uint8), [0, 1], classes=["cat", "dog"])
        >>> len(data), data.shape
        (2, (3, 8, 8))
    """
    pixels = _numpy(images)
    if pixels.ndim != 4 or 0 in pixels.shape or _channels_last(pixels.shape):
        raise InputError(
            f"images have shape {list(pixels.shape)}",
            rule="they must be [n, c, h, w], at least one, with channels before height and width",
            remedy="From [n, h, w, c], use images.transpose(0, 3, 1, 2)",
        )
    exact = None
    if pixels.dtype != np.uint8:
        exact = _checked_floats(pixels)
        pixels = np.rint(exact * 255).astype(np.uint8)
    numbers = _checked_labels(_numpy(labels), len(pixels), len(classes) if classes is not None else None)
    _, channels, height, width = pixels.shape
    return ArrayData(
        name=name,
        split=split,
        classes=tuple(map(composed, classes)) if classes is not None else counted(int(numbers.max())),
        labels=numbers,
        framing=Framing(channels=channels, height=height, width=width),
        pictures=np.array(pixels.transpose(0, 2, 3, 1), order="C"),
        exact=exact,
        open=classes is None,
    )


def _channels_last(shape: tuple[int, ...]) -> bool:
    return shape[3] in (1, 3, 4) and min(shape[1:3]) > shape[3]


def _numpy(values: Any) -> NDArray[Any]:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()  # NumPy has no bfloat16
    return np.asarray(values)


def _checked_floats(pixels: NDArray[Any]) -> NDArray[np.float32]:
    if not np.issubdtype(pixels.dtype, np.floating):
        raise InputError(
            f"images are {pixels.dtype}",
            rule="they must be uint8 in 0..255 or float in [0, 1]",
            remedy="Use images.astype(numpy.uint8) if the values are 0..255",
        )
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # written so that NaN fails
        raise InputError(
            f"images range from {low:g} to {high:g}",
            rule="float images must be finite and lie in [0, 1]",
            remedy="Divide 0..255 values by 255, and do not normalise: that is the model's first layer",
        )
    return np.array(pixels, np.float32, order="C").clip(0, 1)


def _checked_labels(labels: NDArray[Any], count: int, classes: int | None) -> NDArray[np.int64]:
    if labels.shape == (count, 1):
        labels = labels[:, 0]
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (count,):
        raise InputError(
            f"labels are {labels.dtype} {list(labels.shape)}",
            rule=f"they must be integers [{count}], one an image",
            remedy="From one-hot rows, use labels.argmax(1)" if labels.ndim == 2 else "Pass whole class numbers",
        )
    most = MOST_CLASSES if classes is None else classes
    wrong = (labels < 0) | (labels >= most)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"label {row} is {labels[row]}",
            rule=f"labels count from 0, to {most - 1} at most"
            if classes is None
            else f"labels must lie in 0..{most - 1}",
            remedy="Number the classes from 0, in the order of `classes`",
        )
    return labels.astype(np.int64)
