"""How much a model can amplify a change of its input: bounds layer by layer, and what is seen at images. No torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bitproof.records.explained import Explained

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class LayerNorm:
    """The largest amplification of a layer, by l2 norms.

    Attributes:
        name: of the layer.
        matrix: largest singular value of its weight as a matrix, out x in, which is what regularisers look at.
        operator: of the layer itself at its size; a convolution's is up to a kernel's side larger than its matrix's.
        folded: of the layer with the BatchNorm behind it.
    """

    name: str
    matrix: float
    operator: float
    folded: float


@dataclass(frozen=True, kw_only=True)
class Lipschitz(Explained):
    """Estimates of Lipschitz constants under l2, of the model without the steps of its activations' grids.

    A grid has no constant: it jumps. Weights are the quantized ones.

    Attributes:
        layers: with weights, in the order of the model.
        bound: of the logits by the image: products along paths, summed where paths meet; None where a part is unknown.
        unknown: parts that no bound is known of.
        local: mean l2 norm of the gradient of the margin at the images: how fast it changes there.
        largest: the largest of these.
        count: images.
    """

    KIND: ClassVar[str] = "lipschitz"

    layers: tuple[LayerNorm, ...]
    bound: float | None
    unknown: tuple[str, ...]
    local: float
    largest: float
    count: int

    @property
    def title(self) -> str:
        return f"{self.model.name}: Lipschitz estimates"

    @property
    def findings(self) -> list[str]:
        worst = max(self.layers, key=lambda layer: layer.folded)
        if self.bound is None:
            whole = f"The whole has no known bound ({', '.join(self.unknown)})."
        else:
            times = f", {2**0.5 * self.bound / self.largest:.2g} times what is seen" if self.largest else ""
            whole = f"The bound of the whole is {self.bound:.3g}{times}: it bounds, and predicts nothing."
        return [
            f"At {self.count:,} images the margin changes by at most {self.largest:.3g} for each unit of l2 distance "
            f"({self.local:.3g} on average). {whole}",
            f"The layer that amplifies most is {worst.name} ({worst.folded:.3g} with its BatchNorm, "
            f"{worst.operator:.3g} without, {worst.matrix:.3g} as a matrix).",
        ]

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        rows = [
            {"layer": x.name, "matrix": x.matrix, "operator": x.operator, "with BatchNorm": x.folded}
            for x in self.layers
        ]
        return pd.DataFrame(rows)
