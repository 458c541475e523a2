"""Any `torch.utils.data.Dataset` of (image, label), and any `DataLoader`, as examples with stable numbers."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, WeightedRandomSampler

from bitproof.core.calling import ROUNDING
from bitproof.data.arrays import ArrayData, from_arrays
from bitproof.data.base import Data, Read, Rows, counted
from bitproof.errors import InputError
from bitproof.pictures.pixels import Framing, encode_png

_IMAGE = ("image", "img", "pixel_values", "images", "inputs", "0")
_LABEL = ("label", "labels", "fine_label", "target", "targets", "1")
"""What examples that are dictionaries call their parts."""


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TorchData(Data):
    """Examples of a map-style data set, which are asked for one by one.

    Attributes:
        source: it.
        digests: of each image, as it was when the data set was first gone through.
    """

    source: Any
    digests: tuple[bytes, ...]

    def images(self, rows: Rows) -> Float[Tensor, "n c h w"]:
        return torch.stack([self._image(int(row)) for row in rows]) if len(rows) else torch.empty(0, *self.shape)

    def read(self, rows: Rows) -> Read:
        return Read(rows=np.asarray(rows, np.int64), images=self.images(rows))

    def encoded(self, row: int) -> bytes:
        return encode_png((self._image(row).permute(1, 2, 0) * 255).round().byte().numpy())

    def file(self, row: int) -> str | None:
        return None

    def content(self) -> Iterator[bytes | memoryview]:
        yield from self.digests

    def _image(self, row: int) -> Float[Tensor, "c h w"]:
        image = as_image(_parts(self.source[row], row)[0], row)
        if _digest(image) != self.digests[row]:
            raise InputError(
                f"image {row} of {self.name!r} is another one each time it is read",
                rule="results belong to images that stay the same",
                remedy="Leave random augmentation out of the data set's transform",
            )
        return image


def from_dataset(
    dataset: Any,
    *,
    classes: Sequence[str] | None = None,
    name: str | None = None,
    split: str = "test",
    limit: int | None = None,
) -> Data:
    """A data set from a `Dataset` of (image, label), or from a `DataLoader`.

    A map-style data set is gone through once, for labels and a hash of each image; images are read from it again when
    they are needed. A loader and an iterable data set can be gone through only so, and are kept in memory.

    Args:
        dataset: gives pairs, or dictionaries with `image` and `label`. Images are PIL pictures, uint8 arrays [h, w, c],
            or tensors [c, h, w] that are uint8 or floats in [0, 1], all of one size; a loader gives batches of them.
        classes: the class names, one for each output of a model; by default the data set's own `classes`, if it has
            any.
        name: what results call the data; by default the class of the data set.
        split: which part of the data it is, for results.
        limit: use the first so many.

    Raises:
        InputError: images that differ in size, are normalised or change from one reading to the next, labels that
            are no whole numbers, a loader that shuffles, or nothing at all.

    Example:
        >>> pictures = torch.utils.data.TensorDataset(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 1, 0]))
        >>> from_dataset(pictures, classes=["cat", "dog"])
        TorchData: TensorDataset test, 4 of 2 classes, 3x8x8
    """
    whole = dataset.dataset if isinstance(dataset, DataLoader) else dataset
    name = name or type(whole).__name__
    if classes is None and isinstance(named := getattr(whole, "classes", None), (list, tuple)):
        classes = [str(word) for word in named]
    if isinstance(dataset, (DataLoader, IterableDataset)) or not hasattr(dataset, "__len__"):
        return _materialised(dataset, classes, name, split, limit)
    count = min(len(dataset), limit or len(dataset))
    if not count:
        raise InputError(f"{name} has no examples", rule="a result needs at least one", remedy="Check its folder")
    labels, digests, shape = [], [], None
    for row in range(count):
        given, label = _parts(dataset[row], row)
        image = as_image(given, row)
        shape = _same_shape(shape, image, row)
        labels.append(label)
        digests.append(_digest(image))
    assert shape is not None
    numbers = np.array(labels, np.int64)
    names = tuple(classes) if classes is not None else counted(int(numbers.max()))
    _check_labels(numbers, len(names))
    data = TorchData(
        name=name,
        split=split,
        classes=names,
        labels=numbers,
        framing=Framing(channels=shape[0], height=shape[1], width=shape[2]),
        open=classes is None,
        source=dataset,
        digests=tuple(digests),
    )
    data.images([0])  # refuses what changes
    return data


def _materialised(dataset: Any, classes: Sequence[str] | None, name: str, split: str, limit: int | None) -> ArrayData:
    """What can be gone through only once, in memory."""
    if isinstance(dataset, DataLoader) and isinstance(dataset.sampler, (RandomSampler, WeightedRandomSampler)):
        raise InputError(
            "a DataLoader that shuffles",
            rule="examples are numbered by their place, so that results of two runs can be paired",
            remedy="Pass its data set, loader.dataset, or make it with shuffle=False",
        )
    images: list[Tensor] = []
    labels: list[int] = []
    shape = None
    for given, label in _examples(dataset):
        image = as_image(given, len(images))
        shape = _same_shape(shape, image, len(images))
        images.append(image)
        labels.append(label)
        if len(images) == limit:
            break
    if not images:
        raise InputError(f"{name} has no examples", rule="a result needs at least one", remedy="Check it")
    stacked = torch.stack(images)
    levels = (stacked * 255).round()
    exact = bool(((levels / 255 - stacked).abs() < ROUNDING).all())  # 8 bits hold it, as in most files
    pixels = levels.byte() if exact else stacked
    return from_arrays(pixels, labels, classes=classes, name=name, split=split)


def _examples(dataset: Any) -> Iterator[tuple[Any, int]]:
    """Pairs, also of what comes in batches."""
    for number, item in enumerate(dataset):
        if not isinstance(dataset, DataLoader) or dataset.batch_size is None:
            yield _parts(item, number)
            continue
        image, label = _halves(item, number)
        yield from ((one, _whole(value, number)) for one, value in zip(image, label, strict=True))


def _parts(item: Any, row: int) -> tuple[Any, int]:
    image, label = _halves(item, row)
    return image, _whole(label, row)


def _halves(item: Any, row: int) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        image, label = (next((item[key] for key in keys if key in item), None) for keys in (_IMAGE, _LABEL))
        if image is not None and label is not None:
            return image, label
    elif isinstance(item, (tuple, list)) and len(item) >= 2:
        return item[0], item[1]
    kind = f"a dictionary with {', '.join(map(str, item))}" if isinstance(item, Mapping) else f"a {type(item).__name__}"
    raise InputError(
        f"example {row} is {kind}",
        rule="examples are pairs of an image and a label, or dictionaries with 'image' and 'label'",
        remedy="Wrap the data set in one that gives pairs",
    )


def _whole(label: Any, row: int) -> int:
    try:
        value = label.item() if hasattr(label, "item") else label
        if int(value) == value and int(value) >= 0:
            return int(value)
    except (TypeError, ValueError, RuntimeError):
        pass
    raise InputError(
        f"the label of example {row} is {label!r}",
        rule="labels are whole numbers from 0, the numbers of a model's outputs",
        remedy="Give the data set a target_transform that returns such a number",
    )


def as_image(given: Any, row: int) -> Float[Tensor, "c h w"]:
    """An image of any kind as float32 in [0, 1].

    Raises:
        InputError: no image, or values outside [0, 1].
    """
    if isinstance(given, Image.Image):
        given = np.asarray(given if given.mode in ("L", "RGB") else given.convert("RGB"))
    pixels = torch.as_tensor(np.array(given)) if isinstance(given, np.ndarray) else given
    if not isinstance(pixels, Tensor) or pixels.dim() not in (2, 3):
        shape = list(pixels.shape) if isinstance(pixels, Tensor) else ""
        raise InputError(
            f"image {row} is a {type(given).__name__} {shape}".rstrip(),
            rule="images are PIL pictures, arrays [h, w, c] or tensors [c, h, w]",
            remedy="Add torchvision.transforms.v2.ToImage() to the data set's transform",
        )
    if pixels.dim() == 2:
        pixels = pixels[None]
    elif pixels.shape[2] in (1, 3) and pixels.shape[0] not in (1, 3):
        pixels = pixels.permute(2, 0, 1)
    if pixels.dtype == torch.uint8:
        return (pixels.float() / 255).contiguous()
    low, high = (float(value) for value in (pixels.min(), pixels.max()))
    if not (pixels.is_floating_point() and low >= -ROUNDING and high <= 1 + ROUNDING):
        raise InputError(
            f"image {row} is {pixels.dtype} from {low:g} to {high:g}",
            rule="images are uint8, or floats in [0, 1]: normalisation is the model's first layer",
            remedy="Take Normalize out of the data set's transform, and give its mean and std to the model "
            "(bp.models.normalized, or --mean and --std)",
        )
    return pixels.detach().cpu().float().clamp(0, 1).contiguous()


def _same_shape(shape: tuple[int, ...] | None, image: Tensor, row: int) -> tuple[int, ...]:
    if shape is not None and tuple(image.shape) != shape:
        raise InputError(
            f"image {row} has the shape {list(image.shape)}, and those before it {list(shape)}",
            rule="all images of a data set have one size",
            remedy="Add Resize and CenterCrop to its transform; folders of pictures are read by folder:ROOT,size=...",
        )
    return tuple(image.shape)


def _check_labels(labels: np.ndarray, classes: int) -> None:
    if labels.max() >= classes:
        row = int(labels.argmax())
        raise InputError(
            f"label {row} is {labels[row]}",
            rule=f"labels must lie in 0..{classes - 1}",
            remedy="Name all classes, in the order of the model's outputs",
        )


def _digest(image: Tensor) -> bytes:
    return hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest()
