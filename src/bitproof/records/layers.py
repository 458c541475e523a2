"""Which layer is to blame: what one layer changes where it alone goes back to float, or alone is quantized."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bitproof.records.explained import Explained

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("agreement", "accuracy", "robust")
"""Share of the images on which the model answers as the float one does, is right, and is right under attack."""

SURE = 0.05
"""Level of the corrected p-values at which a layer is named."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A paired difference of shares on the same images.

    Attributes:
        value: less where the base model does better.
        low, high: its 95% interval.
        p_holm: of there being none (exact McNemar test), corrected for the number of layers (Holm).
    """

    value: float
    low: float
    high: float
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class LayerEffect:
    """What one layer changes.

    Attributes:
        name: of the layer.
        place: in the model, from 0.
        weight_bits, act_bits: of it where it is quantized.
        agreement, accuracy, robust: of the model in which it alone is turned, less those of the base.
    """

    name: str
    place: int
    weight_bits: int
    act_bits: int
    agreement: Change
    accuracy: Change
    robust: Change


@dataclass(frozen=True, kw_only=True)
class Attribution(Explained):
    """Every layer turned alone, the ones that matter most first.

    Attributes:
        way: "float": one layer at a time goes back to float, and the base is the quantized model. "quantized": one at
            a time is quantized, and the base is the float one.
        turned: what of a layer, "both", "weights" or "inputs".
        attack: what made the images under attack, once, on the base.
        count: images.
        base, whole: each of `MEASURES` of the base, and with all layers turned.
        layers: those that gain most agreement in float first, or those that lose most where they alone are quantized.
        repeats: what the layers cost, in forwards of the images, clean and attacked ones together; without the attack.
    """

    KIND: ClassVar[str] = "layers"

    way: str
    turned: str
    attack: str
    count: int
    base: dict[str, float]
    whole: dict[str, float]
    layers: tuple[LayerEffect, ...]
    repeats: float

    @property
    def title(self) -> str:
        what = "" if self.turned == "both" else f", its {self.turned}"
        how = "back to float" if self.way == "float" else "quantized"
        return f"{self.model.name}: one layer at a time {how}{what}"

    @property
    def sure(self) -> tuple[LayerEffect, ...]:
        """The layers whose change of agreement is no chance."""
        return tuple(layer for layer in self.layers if layer.agreement.p_holm < SURE)

    @property
    def findings(self) -> list[str]:
        first, gap = self.layers[0], self.whole["agreement"] - self.base["agreement"]
        most = "gains" if self.way == "float" else "loses"
        said = [
            f"All layers together change the agreement with float by {100 * gap:+.1f} points (from "
            f"{self.base['agreement']:.1%} to {self.whole['agreement']:.1%}, n = {self.count:,}).",
            f"The layer that alone {most} most is {first.name} ({100 * first.agreement.value:+.1f} points, "
            f"{100 * first.agreement.low:+.1f} to {100 * first.agreement.high:+.1f}).",
        ]
        names = [layer.name for layer in self.sure]
        said.append(f"{len(names)} of {len(self.layers)} layers change it beyond chance: {', '.join(names) or 'none'}.")
        if self.way == "float" and gap > 0.05 and first.agreement.value < gap / 4:
            said.append("No single layer is to blame: look at one layer at a time quantized (way=quantized).")
        return said

    def table(self) -> "pd.DataFrame":
        import pandas as pd

        rows = []
        for layer in self.layers:
            row = {"layer": layer.name, "bits": f"{layer.weight_bits}/{layer.act_bits}"}
            for name in MEASURES:
                change = getattr(layer, name)
                row |= {name: change.value, f"{name} low": change.low, f"{name} high": change.high}
                row |= {f"{name} p": change.p_holm}
            rows.append(row)
        return pd.DataFrame(rows)
