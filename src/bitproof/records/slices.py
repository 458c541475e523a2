"""The loss on a plane through the images: along the gradient's signs, and along random ones. Needs no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float64

from bitproof.records.explained import Explained

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class LossSlice(Explained):
    """Means over the images at the points x + a s + b r of a plane; axes are a, then b.

    Attributes:
        ways: values of a and of b, in [0, 1] pixel units, rising; s are the signs of the gradient at x, r random ones.
        losses: mean cross-entropy, in nats.
        wrong: share of the images that are taken for another class.
        count: images.
    """

    KIND: ClassVar[str] = "slice"

    ways: tuple[float, ...]
    losses: Float64[np.ndarray, "a b"]
    wrong: Float64[np.ndarray, "a b"]
    count: int

    @property
    def title(self) -> str:
        return f"{self.model.name}: loss on a plane through the images"

    @property
    def findings(self) -> list[str]:
        middle, end = len(self.ways) // 2, 255 * self.ways[-1]
        here, along, across = (float(self.losses[at]) for at in ((middle, middle), (-1, middle), (middle, -1)))
        return [
            f"From {here:.3g} nats at the images the loss goes to {along:.3g} at {end:.4g}/255 along the gradient's "
            f"signs and to {across:.3g} along random ones (wrong: {self.wrong[middle, middle]:.1%}, "
            f"{self.wrong[-1, middle]:.1%}, {self.wrong[middle, -1]:.1%})."
        ]

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        rows = [
            {"along the gradient": a, "along random signs": b, "loss": self.losses[i, j], "wrong": self.wrong[i, j]}
            for i, a in enumerate(self.ways)
            for j, b in enumerate(self.ways)
        ]
        return pd.DataFrame(rows)
