"""Feature squeezing: what a model says of an image of which little is left (Xu, Evans & Qi 2018, arXiv 1704.01155).

    depth(x)  = round(x (2^b - 1)) / (2^b - 1)
    median(x) = the middle value of each w x w window

Lin et al. 2019 (arXiv 1904.08444, Section 5.2) squeeze to 5 bits, then by the 2 x 2 median: either all that the model
sees, or a detector, which takes the answer back where it is another one than without. Xu et al. take it back where the
probabilities of the image and of a squeezed one (each squeezer by itself) differ by more than a threshold in l1.

The median is that of SciPy, which the public code uses: of the four values of a 2 x 2 window, which lies to the upper
left and goes on behind the edge as in a mirror, it is the third smallest. `torch.median` would give the second.

He et al. 2017 (1706.04701) defeat it with the squeezed images in the loss.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.defended import Defended, Examined, View
from bitproof.core.ste import round_ste
from bitproof.defences.agreement import KAPPA, shortfall, with_refusal
from bitproof.defences.base import Clean, Defence, answers, clean_images, in_batches, members
from bitproof.errors import InputError, lookup
from bitproof.pictures.pixels import ids

DETECTORS = ("none", "label", "l1")
"""None: the squeezed image is all that the model sees. Otherwise the image itself is answered, and the answer is taken
back where squeezing changes it, or changes the probabilities by more than a threshold."""


@dataclass(frozen=True, kw_only=True)
class Squeezing(Defence):
    """Images of few grey levels without small detail (Xu et al. 2018, arXiv 1704.01155).

    Attributes:
        bits: of a pixel, 1 to 8.
        window: side of the median's window in pixels; 1 = no median.
        detector: what is done with the squeezed images, a name in `DETECTORS`.
        threshold: of the "l1" detector, in (0, 2]; None = the least that takes back at most `false_alarms` of the clean
            images. Xu et al. have 1.7547 for CIFAR-10, with a third squeezer.
        false_alarms: see there.

    Example:
        >>> Squeezing(detector="label").label
        'squeezing 5 bits 2x2 label'
    """

    bits: int = 5
    window: int = 2
    detector: str = DETECTORS[0]
    threshold: float | None = None
    false_alarms: float = 0.05

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(DETECTORS), self.detector, "detector")
        if not 1 <= self.bits <= 8 or self.window < 1:
            raise InputError(
                f"{self.bits} bits and a window of {self.window} pixels",
                rule="images keep 1 to 8 bits, and a window has at least one pixel",
                remedy="Use bits=5, window=2",
            )
        if self.threshold is not None and (self.detector != "l1" or not 0 < self.threshold <= 2):
            raise InputError(
                f"threshold is {self.threshold} for the detector {self.detector!r}",
                rule="it is the l1 distance of two distributions, above 0 and up to 2, which the detector 'l1' takes",
                remedy="Leave it out",
            )
        if not 0 <= self.false_alarms < 1:
            raise InputError(
                f"false_alarms is {self.false_alarms}", rule="it is a share of the clean images", remedy="Use 0.05"
            )

    @property
    def label(self) -> str:
        said = f"squeezing {self.bits} bits" + f" {self.window}x{self.window}" * (self.window > 1)
        return said + f" {self.detector}" * (self.detector != "none")

    @property
    def needs_clean(self) -> bool:
        return self.detector == "l1" and self.threshold is None

    def __call__(self, *models: nn.Module, clean: Clean = None) -> "Squeezed":
        squeezed = Squeezed(members(self, models), self, 2.0 if self.threshold is None else self.threshold)
        if self.needs_clean:
            images = clean_images(self, clean)
            scores = in_batches(squeezed, "score", images).sort().values
            squeezed.threshold = float(scores[max(0, math.ceil(len(scores) * (1 - self.false_alarms)) - 1)])
            squeezed.tuned_on = torch.from_numpy(ids(images))
        return squeezed.eval()


class Squeezed(Defended):
    """A model that sees squeezed images, or is compared with itself on them."""

    def __init__(self, models: nn.ModuleList, how: Squeezing, threshold: float) -> None:
        super().__init__()
        self.members = models
        self.how = how
        self.threshold = threshold
        self.register_buffer("tuned_on", torch.zeros(0, dtype=torch.int64))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        seen = images if self._compares else self._squeezed(images)[-1]
        return answers(self.members, seen)[0]

    def examine(self, images: Float[Tensor, "n c h w"]) -> Examined:
        if not self._compares:
            return Examined(logits=self(images))
        if self.how.detector == "l1":
            score = self.score(images)
            return Examined(logits=self(images), refused=score > self.threshold, values={"l1": score})
        own, squeezed = self._both(images)
        return Examined(logits=own, refused=own.argmax(1) != squeezed.argmax(1))

    def score(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """The largest l1 distance of the probabilities from those of a squeezed image, 0 to 2."""
        own, *others = self._both(images).softmax(2)
        return torch.stack([(own - other).abs().sum(1) for other in others]).amax(0)

    def doubts(self, images: Float[Tensor, "n c h w"]) -> list[str]:
        return []

    @property
    def plain(self) -> bool:
        return not self._compares

    @property
    def view(self) -> View | None:
        return View(logits=partial(_seen_alike, self), refuses=True) if self._compares else None

    @property
    def _compares(self) -> bool:
        return self.how.detector != "none"

    def _both(self, images: Tensor) -> Float[Tensor, "s n k"]:
        """Logits of the images and of the squeezed ones."""
        seen = [images, *self._squeezed(images)]
        return torch.cat([answers(self.members, each) for each in seen])

    def _squeezed(self, images: Tensor) -> list[Tensor]:
        """The images squeezed in every way that is compared: one after the other, or for "l1" each by itself."""
        shallow = depth(images, self.how.bits)
        if self.how.window == 1:
            return [shallow]
        if self.how.window > min(images.shape[2:]):
            raise InputError(
                f"a window of {self.how.window} pixels on images of {'x'.join(map(str, images.shape[2:]))}",
                rule="a median's window lies inside the image",
                remedy="Use window=2, as the paper does",
            )
        if self.how.detector == "l1":
            return [shallow, median(images, self.how.window)]
        return [median(shallow, self.how.window)]


def _seen_alike(squeezed: Squeezed, images: Tensor) -> Tensor:
    """What is missing until the image and all squeezed ones are answered alike, and so alike that no alarm is given."""
    said = squeezed._both(images)
    missing = shortfall(said, len(said))
    if squeezed.how.detector == "l1":
        own, *others = said.softmax(2)
        score = torch.stack([(own - other).abs().sum(1) for other in others]).amax(0)
        missing = missing + (score - squeezed.threshold + KAPPA).clamp(min=0)[:, None]
    return with_refusal(missing)


def depth(images: Float[Tensor, "n c h w"], bits: int) -> Float[Tensor, "n c h w"]:
    """The images in 2^bits grey levels; the gradient passes as if they were not rounded."""
    most = 2**bits - 1
    return round_ste(images * most) / most


def median(images: Float[Tensor, "n c h w"], window: int) -> Float[Tensor, "n c h w"]:
    """SciPy's `median_filter` of each channel, mode "reflect"; the gradient goes to the pixel that is chosen.

    Example:
        >>> median(torch.tensor([[[[0.1, 0.4], [0.2, 0.3]]]]), 2)[0, 0, 1, 1].item() == torch.tensor(0.3).item()
        True
    """
    rows, columns = (_mirrored(size, window).to(images.device) for size in images.shape[2:])
    framed = images[:, :, rows][:, :, :, columns]
    windows = framed.unfold(2, window, 1).unfold(3, window, 1).flatten(4)
    return windows.kthvalue(window * window // 2 + 1, dim=4).values


def _mirrored(size: int, window: int) -> Tensor:
    """The rows that windows over `size` rows see, in their order; behind an edge they come again, itself first."""
    at = torch.arange(-(window // 2), size + (window - 1) // 2) % (2 * size)
    return torch.minimum(at, 2 * size - 1 - at)
