"""Where a change of the image falls between the steps of quantization, or is made larger by them. Needs no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float64

from bitproof.records.amplification import CHANGES
from bitproof.records.explained import Explained

if TYPE_CHECKING:
    import pandas as pd

SHARES = ("changed in float", "swallowed", "changed in codes", "made larger")
"""Of the units of a layer: a(x) is not a(x') in the float model; that, and equal codes in the quantized one; other
codes; and that, though in float they are less than half a step apart."""


@dataclass(frozen=True, kw_only=True)
class ValueShift(Explained):
    """Shares of the units that a layer is given; axes are changes of the image, shares, layers.

    Attributes:
        layers: those whose inputs both models have, in the order of calls.
        attack: what made the changed images, on the float model; the random signs are as large as its budget.
        shares: each of `SHARES`, mean over images and units; NaN where a layer's grid has no single step.
        count: images.
    """

    KIND: ClassVar[str] = "shift"

    layers: tuple[str, ...]
    attack: str
    shares: Float64[np.ndarray, "changes shares layers"]
    count: int

    @property
    def title(self) -> str:
        return f"{self.model.name}: quantization value shift"

    @property
    def findings(self) -> list[str]:
        said = []
        for change, shares in zip(CHANGES, self.shares, strict=True):
            moved, swallowed, _, larger = shares.mean(1)
            reverse = "" if np.isnan(larger) else f"; codes of {larger:.1%} change though in float they hardly do"
            said.append(
                f"Under {self.attack if change == 'attack' else change} {moved:.1%} of the units change in float (mean "
                f"over layers), and of these {swallowed / max(moved, 1e-12):.1%} have equal codes in the quantized "
                f"model{reverse}."
            )
        return said

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        rows = [
            {"layer": layer, "change": change} | dict(zip(SHARES, self.shares[i, :, k], strict=True))
            for k, layer in enumerate(self.layers)
            for i, change in enumerate(CHANGES)
        ]
        return pd.DataFrame(rows)
