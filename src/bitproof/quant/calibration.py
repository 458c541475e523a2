"""Calibration images in every form that people have them in, checked before anything follows from them.

Taken are bitproof's own data, a tensor or array of images, and whatever yields batches, or images one by one: lists,
generators, a `DataLoader`, a `Dataset`. A batch, or the whole, may come with labels and the like: as a tuple, a list or
a dictionary. Bytes are 8-bit pictures; floats are in [0, 1], as everywhere in bitproof.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.core.rng import Rng
from bitproof.errors import InputError, kind_of

BATCH = 128

MOST_BYTES = 2**32
"""Of images that are kept, from what can be read only once. A whole training set may have many times that."""

SLACK = 0.5 / 255
"""How far floats may lie outside [0, 1], as some resizes leave them: less than the rounding of an 8-bit picture."""

Calibration = Any
"""What `batches_of` takes."""


@runtime_checkable
class Images(Protocol):
    """Data whose `inputs()` yields batches of images, anew at each call."""

    def inputs(self) -> Iterable[Tensor]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class UnderNoise:
    """Calibration images under Gaussian noise that is not clipped, for a model that is to answer under such noise
    (`defences.Smoothing`): a grid from clean images would cut off the noise below black and above white.

    Attributes:
        images: in any form that `batches_of` takes.
        sigma: standard deviation in [0, 1] pixel units.
        seed: of the noise.
    """

    images: Any
    sigma: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.sigma < float("inf"):
            raise InputError(
                f"sigma of calibration images is {self.sigma}",
                rule="noise has a positive standard deviation",
                remedy="Use that of the smoothing, such as 0.25, or the images themselves",
            )

    def inputs(self) -> Iterator[Float[Tensor, "n ..."]]:
        """The images, batch by batch, the same at each call."""
        first = 0
        for batch in batches_of(self.images)():
            ids = np.arange(first, first + len(batch))
            noise = Rng(self.seed, ids, ("calibration noise",)).normal(tuple(batch.shape[1:]))
            first += len(batch)
            yield batch + self.sigma * noise.to(batch)


@dataclass(frozen=True, kw_only=True, eq=False)
class Checked:
    """Images as `images_of` gave them, or some of these, which are not asked about again: under noise they may leave
    [0, 1]."""

    images: Float[Tensor, "n ..."]

    def inputs(self) -> Iterator[Float[Tensor, "n ..."]]:
        """The images, batch by batch."""
        yield from self.images.split(BATCH)


def batches_of(calibration: Calibration) -> Callable[[], Iterator[Float[Tensor, "n ..."]]]:
    """What gives the images anew at each call: float tensors in [0, 1], batch by batch, all of one shape.

    Raises:
        InputError: at once, or when the batch in question is read: no images, something else than images, values that
            are not finite or not in [0, 1], images of several shapes, or more than can be kept.
    """
    if calibration is None:
        raise InputError(
            "no calibration data",
            rule="ranges come from images that the model sees",
            remedy="Pass a few hundred training images (--data, --calibration-data), or leave activations float: "
            "act_bits=32, in text w8a32",
        )
    if isinstance(calibration, (UnderNoise, Checked)):
        return calibration.inputs
    if isinstance(calibration, Images):
        return lambda: _checked(_batch(batch) for batch in calibration.inputs())
    kept = list(_checked(_kept(_read(calibration))))
    return lambda: iter(kept)


def images_of(calibration: Calibration) -> Float[Tensor, "n ..."]:
    """All the images as one tensor; see `batches_of`. They are handed on as `Checked`."""
    return torch.cat(list(batches_of(calibration)()))


def _read(calibration: Any) -> Iterator[Tensor]:
    """Batches from what holds or yields images, one by one or many at a time."""
    if isinstance(calibration, (Tensor, np.ndarray, Mapping)) or _is_pair(calibration):
        yield from _batch(calibration).split(BATCH)
        return
    single: list[Tensor] = []
    for part in _items(calibration):
        batch = _tensor(_pictures(part))
        if batch.dim() != 3:
            yield _floats(batch)
            continue
        single.append(batch)
        if len(single) == BATCH:
            yield _stacked(single)
            single = []
    if single:
        yield _stacked(single)


def _items(calibration: Any) -> Iterable[Any]:
    if isinstance(calibration, Iterable):
        return calibration
    if hasattr(calibration, "__getitem__") and hasattr(calibration, "__len__"):  # a Dataset
        return (calibration[i] for i in range(len(calibration)))
    raise _unknown(calibration)


def _stacked(images: list[Tensor]) -> Tensor:
    _require_one_shape({tuple(image.shape) for image in images})
    return _floats(torch.stack(images))


def _is_pair(value: Any) -> bool:
    """Whether a tuple or list is one batch with its labels, not a list of batches."""
    if not isinstance(value, (tuple, list)) or len(value) < 2:
        return False
    sizes = [part.ndim if isinstance(part, (Tensor, np.ndarray)) else 0 for part in value]
    return sizes[0] >= 2 and max(sizes[1:]) <= 1


def _batch(value: Any) -> Tensor:
    """The images of one batch, floats [n, ...]."""
    return _floats(_tensor(_pictures(value)))


def _pictures(value: Any) -> Any:
    """The tensor or array of images in what comes with labels; of several, the one that alone can be images."""
    if isinstance(value, (Tensor, np.ndarray)):
        return value
    parts: Sequence[Any] = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(parts, (tuple, list)):
        raise _unknown(value)
    found = [part for part in parts if isinstance(part, (Tensor, np.ndarray)) and part.ndim >= 2]
    pictures = [part for part in found if part.ndim >= 3] or found
    if not pictures:
        raise _unknown(parts[0] if len(parts) else value)
    if len(pictures) > 1:
        shapes = " or ".join(str(tuple(part.shape)) for part in pictures)
        raise InputError(
            f"a batch of {kind_of(value)} in which images could be {shapes}",
            rule="one tensor of a batch holds its images",
            remedy="Pass a generator of the images alone: (batch[0] for batch in loader)",
        )
    return pictures[0]


def _tensor(value: Tensor | np.ndarray) -> Tensor:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiu":
            raise _unknown(value)
        return torch.from_numpy(np.ascontiguousarray(value))
    return value.detach()


def _floats(batch: Tensor) -> Tensor:
    """Floats as they are, 8-bit pictures divided by 255."""
    if batch.dtype == torch.uint8:
        return batch.float() / 255
    if not batch.is_floating_point():
        raise InputError(
            f"calibration images are {str(batch.dtype).removeprefix('torch.')}",
            rule="they are uint8 in 0..255 or floats in [0, 1]",
            remedy="Convert them: images.to(torch.uint8), or images / 255",
        )
    return batch


def _checked(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """The batches, each looked at before it is handed on."""
    shape: tuple[int, ...] | None = None
    count = 0
    for number, batch in enumerate(batches, 1):
        if batch.dim() < 2:
            raise InputError(
                f"calibration batch {number} has shape {tuple(batch.shape)}",
                rule="a batch of images has shape [n, c, h, w]",
                remedy="Pass images, not labels; a single image is image[None]",
            )
        shape = shape or tuple(batch.shape[1:])
        _require_one_shape({shape, tuple(batch.shape[1:])})
        if not batch.isfinite().all():
            raise InputError(
                f"calibration batch {number} holds NaN or infinity",
                rule="ranges come from finite images",
                remedy="Check how the images are loaded",
            )
        low, high = (v.item() for v in torch.aminmax(batch)) if batch.numel() else (0, 0)
        if low < -SLACK or high > 1 + SLACK:
            raise InputError(
                f"calibration batch {number} has values from {low:.4g} to {high:.4g}",
                rule="models take images in [0, 1], on which they are tested too",
                remedy="Divide 8-bit images by 255. Do not normalise them: that is the model's first layer, "
                "bitproof.models.normalized(model, mean, std)",
            )
        if len(batch):
            count += len(batch)
            yield batch
    if not count:
        raise InputError(
            "no calibration data",
            rule="ranges come from images that the model sees",
            remedy="Pass a few hundred images: what was passed holds none",
        )


def _kept(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """The batches, for as long as all of them together can be kept."""
    size = 0
    for batch in batches:
        size += batch.numel() * batch.element_size()
        if size > MOST_BYTES:
            raise InputError(
                f"more than {MOST_BYTES / 2**30:.0f} GiB of calibration images",
                rule="a few hundred images set a range, and all are kept in memory",
                remedy="Pass the first batches: itertools.islice(loader, 8)",
            )
        yield batch


def _require_one_shape(shapes: set[tuple[int, ...]]) -> None:
    if len(shapes) > 1:
        raise InputError(
            f"calibration images of shapes {' and '.join(map(str, sorted(shapes)))}",
            rule="a model takes images of one shape [c, h, w]",
            remedy="Resize them as for testing; from [n, h, w, c], use images.permute(0, 3, 1, 2)",
        )


def _unknown(value: Any) -> InputError:
    return InputError(
        f"{kind_of(value)} as calibration images",
        rule="taken are data, tensors, arrays, and what yields batches of these, with labels or without",
        remedy="Turn pictures into a tensor [n, c, h, w] in [0, 1] first",
    )
