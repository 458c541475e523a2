"""How a change of the image grows or fades on its way through a model. Needs no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float64

from bitproof.records.explained import Explained

if TYPE_CHECKING:
    import pandas as pd

CHANGES = ("attack", "random signs")
"""How images are changed: by the signs of the gradient, and, as a control, by random ones of the same size."""


@dataclass(frozen=True, kw_only=True)
class Amplification(Explained):
    """Relative distances between what layers are given for changed and clean images; axes are changes, sizes, layers.

    Attributes:
        layers: their names, in the order of calls; the logits last.
        eps: sizes of the change, in [0, 1] pixel units.
        sums: sum of the distances over the sum of the norms of the clean ones.
        means: mean of distance over norm, over the images for which that is not zero.
        errors: its standard error.
        count: images.
    """

    KIND: ClassVar[str] = "amplification"

    layers: tuple[str, ...]
    eps: tuple[float, ...]
    sums: Float64[np.ndarray, "changes sizes layers"]
    means: Float64[np.ndarray, "changes sizes layers"]
    errors: Float64[np.ndarray, "changes sizes layers"]
    count: int

    @property
    def title(self) -> str:
        return f"{self.model.name}: error amplification"

    @property
    def findings(self) -> list[str]:
        said = []
        for at in dict.fromkeys((0, len(self.eps) - 1)):
            first, last = self.sums[:, at, 0], self.sums[:, at, -1]
            grown = [
                f"{a:.3g} to {b:.3g}" + (f" ({b / a:.1f} times)" if a else "") for a, b in zip(first, last, strict=True)
            ]
            said.append(
                f"From the first layer to the logits the change of {255 * self.eps[at]:.4g}/255 goes from {grown[0]} "
                f"along the gradient's signs, from {grown[1]} along random ones."
            )
        return said

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        rows = [
            {
                "layer": layer,
                "change": change,
                "eps": eps,
                "ratio of sums": self.sums[i, j, k],
                "mean of ratios": self.means[i, j, k],
                "standard error": self.errors[i, j, k],
            }
            for k, layer in enumerate(self.layers)
            for i, change in enumerate(CHANGES)
            for j, eps in enumerate(self.eps)
        ]
        return pd.DataFrame(rows)
