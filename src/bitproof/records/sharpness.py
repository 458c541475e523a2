"""How steep the loss is along the error of quantization, layer by layer. Needs no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bitproof.records.explained import Explained

if TYPE_CHECKING:
    import pandas as pd

EVERYTHING = "all layers"
"""What the line is called in which all layers move together."""


@dataclass(frozen=True, kw_only=True)
class LayerSharpness:
    """How the loss bends as the weights of one layer move.

    Attributes:
        name: of the layer; `EVERYTHING` for all of them.
        norm: l2 norm of the error of its weights.
        along: (L(w + t d) - L(w)) / t^2 along the error d, in nats.
        random: the same along random directions of that norm in each layer.
    """

    name: str
    norm: float
    along: float
    random: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the random directions."""
        return sum(self.random) / len(self.random)

    @property
    def p_value(self) -> float:
        """Of the error's being no sharper than a random direction; one of 20 directions cannot say less than 1/21."""
        return (1 + sum(value >= self.along for value in self.random)) / (1 + len(self.random))


@dataclass(frozen=True, kw_only=True)
class Sharpness(Explained):
    """The sharpness of each layer's loss along the error of its quantization, against chance.

    Attributes:
        loss: of the float weights: the mean cross-entropy in nats.
        layers: in the order of the model, all of them together last.
    """

    KIND: ClassVar[str] = "sharpness"

    loss: float
    layers: tuple[LayerSharpness, ...]

    @property
    def title(self) -> str:
        return f"{self.model.name}: sharpness along the error of quantization"

    @property
    def findings(self) -> list[str]:
        *alone, together = self.layers
        worst = max(alone, key=lambda layer: layer.along)
        sharper = [layer.name for layer in alone if layer.p_value <= 1 / (1 + len(layer.random))]
        said = f"sharper than all {len(together.random)} random directions: {', '.join(sharper) or 'no layer'}"
        return [
            f"The error of all weights together costs {together.along:.3g} nats for a whole step, random errors of its "
            f"size {together.mean:.3g} on average (p = {together.p_value:.2g}).",
            f"The sharpest layer is {worst.name} ({worst.along:.3g}; at random {worst.mean:.3g}); {said}.",
        ]

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        rows = [
            {
                "layer": layer.name,
                "error norm": layer.norm,
                "along the error": layer.along,
                "random mean": layer.mean,
                "random max": max(layer.random),
                "p": layer.p_value,
            }
            for layer in self.layers
        ]
        return pd.DataFrame(rows)
