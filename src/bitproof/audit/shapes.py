"""What a trigger that is searched for may look like, one a target class, all learned side by side.

    patch       (1 - m) x + m p      m a mask of pixels, p a picture; the smallest sum of m, as Neural Cleanse has it
    pixels      x + a - b            a and b not negative; the fewest pixels that are changed, as Pixel has it
    blend       (1 - a) x + a p      a one number; the smallest a
    linf, l2    x + d                d one perturbation for all images; the smallest norm

The first three have a cost in the loss whose weight rises while the trigger works and falls while it does not. The
others lie in a ball whose radius does the same.
"""

import abc
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bitproof.core.balls import BALLS
from bitproof.core.rng import Rng

WORKS = 0.9
"""The success above which a trigger is made smaller."""

RISE, FALL = 1.3, 1.5
"""By what a cost's weight is multiplied or divided a step."""

FIRST = 30.0
"""What a patch of the whole image costs at first, in nats."""

SHRINK, GROW = 0.95, 1.06
"""The same of a radius."""

Image = tuple[int, int, int]


class Shape(nn.Module, abc.ABC):
    """Triggers of one kind, one for each of k targets.

    Attributes:
        rate: of Adam.
    """

    rate: float = 0.2

    @abc.abstractmethod
    def stamp(self, images: Float[Tensor, "k m c h w"]) -> Float[Tensor, "k m c h w"]:
        """The images with the trigger of each target, in [0, 1]."""

    @abc.abstractmethod
    def sizes(self) -> Float[Tensor, " k"]:
        """How large each trigger is."""

    @abc.abstractmethod
    def cost(self) -> Float[Tensor, ""]:
        """What is added to the sum of the targets' losses."""

    @abc.abstractmethod
    def settle(self, works: Float[Tensor, " k"]) -> None:
        """After a step: press triggers that work, release those that do not; `works` is the success of each."""

    @property
    @abc.abstractmethod
    def largest(self) -> float:
        """The size of a trigger that replaces the image: what counts where none was found."""

    @staticmethod
    @abc.abstractmethod
    def text(size: float) -> str:
        """A size for people."""


class Patch(Shape):
    """A mask of pixels and a picture under it."""

    def __init__(self, targets: int, image: Image, rng: Rng) -> None:
        super().__init__()
        _, height, width = image
        draws = rng.fold("patch").normal((targets, image[0] + 1, height, width))[0]
        self.mask = nn.Parameter(0.1 * draws[:, :1] - 2)
        self.picture = nn.Parameter(draws[:, 1:].clone())
        self.register_buffer("weight", torch.full((targets,), FIRST / (height * width)))

    def stamp(self, images: Float[Tensor, "k m c h w"]) -> Float[Tensor, "k m c h w"]:
        mask, picture = self.mask.sigmoid()[:, None], self.picture.sigmoid()[:, None]
        return (1 - mask) * images + mask * picture

    def sizes(self) -> Float[Tensor, " k"]:
        return self.mask.sigmoid().flatten(1).sum(1)

    def cost(self) -> Float[Tensor, ""]:
        return (self.get_buffer("weight") * self.sizes()).sum()

    def settle(self, works: Float[Tensor, " k"]) -> None:
        _press(self.get_buffer("weight"), works)

    @property
    def largest(self) -> float:
        return float(self.mask[0].numel())

    @staticmethod
    def text(size: float) -> str:
        return f"patch of {size:.1f} pixels"


class Pixels(Shape):
    """Values that are added and taken away, on as few pixels as can be (Pixel, Tao et al. 2022, CVPR)."""

    rate = 0.1

    def __init__(self, targets: int, image: Image, rng: Rng) -> None:
        super().__init__()
        draws = rng.fold("pixels").uniform((2, targets, *image))[0]
        self.more, self.less = nn.Parameter(draws[0].clone()), nn.Parameter(draws[1].clone())
        self.register_buffer("weight", torch.full((targets,), FIRST / (image[1] * image[2])))

    def stamp(self, images: Float[Tensor, "k m c h w"]) -> Float[Tensor, "k m c h w"]:
        return (images + self._change[:, None]).clamp(0, 1)

    def sizes(self) -> Float[Tensor, " k"]:
        return (self._change.detach().abs().amax(1) >= 1 / 255).flatten(1).sum(1).float()

    def cost(self) -> Float[Tensor, ""]:
        counts = sum((tensor / 10).tanh().amax(1).flatten(1).sum(1) / 2 for tensor in (self.more, self.less))
        return (self.get_buffer("weight") * counts).sum()

    def settle(self, works: Float[Tensor, " k"]) -> None:
        _press(self.get_buffer("weight"), works)

    @property
    def _change(self) -> Float[Tensor, "k c h w"]:
        return self.more.clamp(0, 1) - self.less.clamp(0, 1)

    @property
    def largest(self) -> float:
        return float(self.more[0, 0].numel())

    @staticmethod
    def text(size: float) -> str:
        return f"change of {size:.0f} pixels"


class Blend(Shape):
    """One picture over the whole image, as faint as can be."""

    def __init__(self, targets: int, image: Image, rng: Rng) -> None:
        super().__init__()
        self.picture = nn.Parameter(rng.fold("blend").normal((targets, *image))[0])
        self.part = nn.Parameter(torch.full((targets,), -1.0))
        self.register_buffer("weight", torch.ones(targets))

    def stamp(self, images: Float[Tensor, "k m c h w"]) -> Float[Tensor, "k m c h w"]:
        part = self.sizes().view(-1, 1, 1, 1, 1)
        return (1 - part) * images + part * self.picture.sigmoid()[:, None]

    def sizes(self) -> Float[Tensor, " k"]:
        return self.part.sigmoid()

    def cost(self) -> Float[Tensor, ""]:
        return (self.get_buffer("weight") * self.sizes()).sum()

    def settle(self, works: Float[Tensor, " k"]) -> None:
        _press(self.get_buffer("weight"), works)

    @property
    def largest(self) -> float:
        return 1.0

    @staticmethod
    def text(size: float) -> str:
        return f"picture blended in at {size:.1%}"


class Universal(Shape, abc.ABC):
    """One perturbation for all images, in a ball.

    Attributes:
        norm: a name in `bitproof.core.balls.BALLS`.
        first: the radius that is begun with, as a part of the largest that makes sense.
    """

    norm: str
    first: float

    def __init__(self, targets: int, image: Image, rng: Rng) -> None:
        super().__init__()
        self.values = math.prod(image)
        radius = self.first * self.largest
        self.rate = radius / math.sqrt(self.values) * 4 if self.norm == "l2" else radius / 4
        self.change = nn.Parameter(rng.fold(self.norm).normal((targets, *image))[0] * self.rate / 4)
        self.register_buffer("radius", torch.full((targets,), radius))
        self._project()

    def stamp(self, images: Float[Tensor, "k m c h w"]) -> Float[Tensor, "k m c h w"]:
        return (images + self.change[:, None]).clamp(0, 1)

    def sizes(self) -> Float[Tensor, " k"]:
        return BALLS[self.norm].norm(self.change.detach())

    def cost(self) -> Float[Tensor, ""]:
        return self.change.new_zeros(())

    def settle(self, works: Float[Tensor, " k"]) -> None:
        radius = self.get_buffer("radius")
        radius.mul_(torch.where(works > WORKS, SHRINK, GROW)).clamp_(max=self.largest)
        self._project()

    @torch.no_grad()
    def _project(self) -> None:
        ball = BALLS[self.norm]
        for change, radius in zip(self.change, self.get_buffer("radius").tolist(), strict=True):
            change.copy_(ball.project(change[None], radius)[0])

    @property
    def largest(self) -> float:
        return BALLS[self.norm].diameter(self.values)


class Linf(Universal):
    """Every value changes by at most as much."""

    norm, first = "linf", 16 / 255

    @staticmethod
    def text(size: float) -> str:
        return f"perturbation of linf {size * 255:.1f}/255"


class L2(Universal):
    """The change of the whole image has a length."""

    norm, first = "l2", 0.05

    @staticmethod
    def text(size: float) -> str:
        return f"perturbation of l2 {size:.2f}"


SHAPES: dict[str, type[Shape]] = {"patch": Patch, "pixels": Pixels, "blend": Blend, "linf": Linf, "l2": L2}
"""What is looked for, by name."""


@torch.no_grad()
def _press(weight: Tensor, works: Float[Tensor, " k"]) -> None:
    weight.mul_(torch.where(works > WORKS, RISE, 1 / FALL))
