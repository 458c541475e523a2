"""What files of all runtimes share as models under test: they get images as they take them, and give logits."""

import abc
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from bitproof.deploy.bits import FileScheme
from bitproof.deploy.codes import Stored
from bitproof.deploy.formats import ImageFormat, filled
from bitproof.deploy.needs import MOST_IMAGES, SMALLEST
from bitproof.errors import InputError
from bitproof.quant import Scheme
from bitproof.reading import refusing


class Session(nn.Module, abc.ABC):
    """A file that a runtime computes on the CPU: images [n, c, h, w] in [0, 1] to logits [n, k], for any n.

    It gets images as it takes them: channels-last, as pixels or codes in 8 bits, in batches of a fixed size. Of
    probabilities the logarithm is taken. It has no gradients (`Twin` has).

    Attributes:
        runtime, kind: what computes it, and the kind of file that it is, for messages.
        taken: how the file takes images.
        shape: (channels, height, width) of its images; None = any.
        batch: of how many images; None = any number.
        alone: whether images come one by one where it takes any number.
        probabilities: whether it ends in a softmax.
        scheme: of the bits that are found in it; None = float.
    """

    differentiable: ClassVar[bool] = False
    runtime: ClassVar[str]
    kind: ClassVar[str]

    taken: ImageFormat
    shape: tuple[int | None, ...]
    batch: int | None
    alone: bool = False
    probabilities: bool
    scheme: Scheme | FileScheme | None

    @abc.abstractmethod
    def compute(self, given: NDArray[Any]) -> NDArray[np.float32]:
        """What the file gives for a full batch of what it takes."""

    @abc.abstractmethod
    def codes(self) -> list[Stored]:
        """The weights that are codes in the file, with torch's order of axes, and what they stand for."""

    def hold(self, **files: bytes) -> None:
        """Have the files as buffers, of which fingerprints are made, and copies and pickles."""
        for name, content in files.items():
            self.register_buffer(name, torch.from_numpy(np.frombuffer(content, np.uint8).copy()))

    def held(self) -> tuple[bytes, ...]:
        """The files, as they are given to the class."""
        return tuple(buffer.numpy().tobytes() for buffer in self.buffers())

    def __reduce__(self) -> Any:
        """Copies and pickles hold the files, and have the runtime open them anew."""
        return type(self), self.held()

    def takes(self, batch: int | None, sizes: tuple[int | None, ...], taken: ImageFormat) -> None:
        """Note what the file takes.

        Args:
            batch: of how many images; None = any number.
            sizes: of an image, in the file's own order.
            taken: layout and kind of numbers.

        Raises:
            InputError: the batch is too large.
        """
        if (batch or 0) > MOST_IMAGES:
            raise InputError(
                f"the {self.kind} model takes {batch:,} images at once",
                rule=f"smaller batches are filled up to that number, which may be {MOST_IMAGES:,}",
                remedy="Make the file anew, with a batch of any size",
            )
        self.batch, self.taken = batch, taken
        self.shape = (sizes[2], *sizes[:2]) if taken.channels_last else sizes

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        if images.requires_grad:
            raise InputError(
                f"a session of {self.runtime} has no gradients",
                rule="attacks that follow gradients need a model in PyTorch",
                remedy="Attack its twin (--twin NAME, bp.deploy.Twin), or use conditions that need none, such as "
                "--suite shifts",
            )
        if any(size not in (None, given) for size, given in zip(self.shape, images.shape[1:], strict=True)):
            raise InputError(
                f"images of shape {tuple(images.shape[1:])}",
                rule=f"the {self.kind} model takes images of shape {self.shape}",
                remedy="Use data of this size, or make the file anew for the other one",
            )
        logits = torch.cat([self._logits(given)[:count] for given, count in self.batches(images)]).to(images.device)
        return logits.clamp(min=SMALLEST).log() if self.probabilities else logits

    def batches(self, images: Float[Tensor, "n c h w"]) -> Iterator[tuple[NDArray[Any], int]]:
        """The images as the file takes them, in batches that are filled up, and how many of each are theirs."""
        size = self.batch or (1 if self.alone else max(len(images), 1))
        for full, count in filled(images.detach().cpu().float(), size):
            yield self.taken(full).to(self.taken.dtype).contiguous().numpy(), count

    def _logits(self, given: NDArray[Any]) -> Tensor:
        with refusing(
            self.runtime,
            rule=f"the {self.kind} model maps images of the data's shape to logits",
            remedy="Use data of the shape that it takes, or make the file anew",
            how="cannot run the model",
        ):
            found = self.compute(given)
        if found.ndim != 2 or len(found) != len(given):
            raise InputError(
                f"the {self.kind} model returns {list(found.shape)} for {len(given)} images",
                rule="a model under test maps images [n, c, h, w] to logits [n, k]",
                remedy="Make the file anew, with the logits as an output",
            )
        return torch.from_numpy(found)
