"""How far the input gradients of models point the same way. Needs no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float64, Int64

from bitproof.records.explained import Explained

if TYPE_CHECKING:
    import pandas as pd

LOSSES = ("cross-entropy", "margin")
"""Whose gradients are compared. Where a model is confident that of the cross-entropy is numerical noise, or zero."""


@dataclass(frozen=True, kw_only=True)
class Alignment(Explained):
    """Cosines between the gradients of models at the same images; axes are losses, models, models.

    Attributes:
        cosines: mean over the images on which neither gradient is zero; NaN where there is no such image.
        low, high: its 95% interval (Student's).
        pairs: on how many images neither is zero.
        zeros: on how many images each model's gradient is zero, losses x models.
        count: images.
    """

    KIND: ClassVar[str] = "alignment"

    cosines: Float64[np.ndarray, "losses models models"]
    low: Float64[np.ndarray, "losses models models"]
    high: Float64[np.ndarray, "losses models models"]
    pairs: Int64[np.ndarray, "losses models models"]
    zeros: Int64[np.ndarray, "losses models"]
    count: int

    @property
    def title(self) -> str:
        return "alignment of input gradients"

    @property
    def findings(self) -> list[str]:
        names = [model.name for model in (self.model, *self.others)]
        margin = self.cosines[1]
        pairs = [(margin[i, j], i, j) for i in range(len(names)) for j in range(i) if np.isfinite(margin[i, j])]
        said = []
        if pairs:
            least, i, j = min(pairs)
            said.append(
                f"Least aligned are {names[j]} and {names[i]}: mean cosine {least:.2f} of the margin's gradients, "
                f"{self.cosines[0, i, j]:.2f} of the cross-entropy's (n = {self.count:,})."
            )
        for loss, zeros in zip(LOSSES, self.zeros, strict=True):
            if zeros.any():
                worst = int(zeros.argmax())
                said.append(f"The {loss} has no gradient on {zeros[worst]:,} images in {names[worst]}.")
        return said

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        names = [model.name for model in (self.model, *self.others)]
        rows = [
            {
                "loss": loss,
                "model": names[j],
                "other": names[i],
                "cosine": self.cosines[k, i, j],
                "low": self.low[k, i, j],
                "high": self.high[k, i, j],
                "pairs": self.pairs[k, i, j],
            }
            for k, loss in enumerate(LOSSES)
            for i in range(len(names))
            for j in range(i)
        ]
        return pd.DataFrame(rows)
