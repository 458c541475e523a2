"""Which layer: one at a time goes back to float, or alone is quantized, and the answers are compared, paired.

Images under attack are made once, on the base model, and given to all: what a layer changes there is a change on the
same images. As images made for one network deceive another less, any change of a layer tends to look like robustness:
layers are to be compared with each other there, not with zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitproof.analysis.base import Case, Explanation, quantized
from bitproof.analysis.forms import forms
from bitproof.analysis.variants import Variants
from bitproof.attacks import PGD, Attack
from bitproof.core.calling import answer, check_logits, unwrapped
from bitproof.core.copying import copied
from bitproof.core.passes import Counted
from bitproof.errors import lookup
from bitproof.metrics import holm, mcnemar, paired_difference
from bitproof.quant import freeze
from bitproof.quant.attached import compute_layers
from bitproof.quant.convert import quantized_layers
from bitproof.records import Attribution, Change, LayerEffect, ModelRecord

WAYS = ("float", "quantized")
TURNED = ("both", "weights", "inputs")

Right = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class WhichLayer(Explanation):
    """Which layer to blame: one at a time goes back to float, or alone is quantized.

    Attributes:
        way: "float" asks what leaving a layer in float would gain, "quantized" what quantizing it alone costs. Where
            many layers are ruined each by itself, only the second tells them apart.
        turned: what of the layer: "both", its "weights" or its "inputs".
        attack: for the accuracy under attack, made once on the base model.

    Example:
        >>> import bitproof as bp
        >>> model, data = bp.load_model("digits_cnn"), bp.load_data("digits", limit=8)
        >>> found = WhichLayer(attack=PGD(eps=0.1, steps=2))(
        ...     {"w4": bp.quantize(model, "w4a32", data), "float": model}, data, rng=bp.Rng(0, data.ids)
        ... )
        >>> len(found.layers), found.whole["agreement"]
        (4, 1.0)
    """

    record: ClassVar = Attribution

    way: str = "float"
    turned: str = "both"
    attack: Attack = field(default_factory=lambda: PGD(eps=1 / 255, steps=10))

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(WAYS), self.way, "way")
        lookup(dict.fromkeys(TURNED), self.turned, "part of a layer")

    def groups(self, models: Sequence[ModelRecord]) -> list[tuple[ModelRecord, ...]]:
        return quantized(models)

    def passes(self, models: Sequence[ModelRecord]) -> int:
        layers = len(models[0].coverage.parts) if models[0].coverage else 20
        return layers + 5 + self.attack.passes

    def look(self, case: Case) -> dict[str, Any]:
        subject, *twins = case.subjects
        rounded, loose = forms(subject.model)
        base, other = (rounded, loose) if self.way == "float" else (loose, rounded)
        bits = {
            name: (here.weight_bits, here.act_bits)
            for name, _, here in quantized_layers(unwrapped(subject.model))
            if here.weight_bits < 32 or here.act_bits < 32
        }
        turned = {name: _turned(base, other, name, self.turned) for name in bits}
        first = next(case.data.inputs(2))
        variants = Variants(base, first)
        twin = next((freeze(twin.model) for twin in twins), loose)
        alike = torch.equal(answer(twin, first), answer(loose, first))
        attacked = Counted(base)
        rows = {"base": {}, "whole": turned} | {name: {name: layer} for name, layer in turned.items()}

        def predict(images: Tensor) -> Tensor:
            """Classes [1 + 1 + layers, n], in the order of `rows`."""
            found = [variants.of(layers) if layers else variants.base(images) for layers in rows.values()]
            check_logits(found[0], images, "the base model")
            return torch.stack([logits.argmax(1) for logits in found])

        parts: dict[str, list[Tensor]] = {"agreement": [], "accuracy": [], "robust": []}
        asked = 0
        for inputs, labels, rng in case.batches(min(variants.images, case.batch_size)):
            clean = predict(inputs)
            if alike:
                expected = clean[1 if self.way == "float" else 0]
            else:
                asked += len(inputs)
                expected = answer(twin, inputs).argmax(1)
            made = self.attack(attacked, inputs, labels, rng=rng.fold("attack"))
            parts["agreement"].append(clean == expected)
            parts["accuracy"].append(clean == labels)
            parts["robust"].append(predict(made) == labels)
        right = {name: torch.cat(found, 1).cpu().numpy() for name, found in parts.items()}
        count = right["accuracy"].shape[1]
        return {
            "way": self.way,
            "turned": self.turned,
            "attack": self.attack.label,
            "count": count,
            "base": {name: float(found[0].mean()) for name, found in right.items()},
            "whole": {name: float(found[1].mean()) for name, found in right.items()},
            "layers": _effects(bits, right, self.way),
            "repeats": (variants.passes + asked) / count,
            "forwards": variants.passes + asked + attacked.forwards,
            "backwards": attacked.backwards,
        }


def _effects(bits: dict[str, tuple[int, int]], right: dict[str, Right], way: str) -> tuple[LayerEffect, ...]:
    """The layers that matter most first: those that gain most in float, or lose most where they alone are quantized."""
    changes = {name: _changes(found) for name, found in right.items()}
    effects = [
        LayerEffect(
            name=name,
            place=place,
            weight_bits=weight_bits,
            act_bits=act_bits,
            **{measure: found[place] for measure, found in changes.items()},
        )
        for place, (name, (weight_bits, act_bits)) in enumerate(bits.items())
    ]
    sign = -1 if way == "float" else 1
    return tuple(sorted(effects, key=lambda effect: (sign * effect.agreement.value, sign * effect.accuracy.value)))


def _changes(right: Right) -> list[Change]:
    """Each layer's rows against the base's."""
    base, _, *layers = right
    p_values = holm([mcnemar(layer, base) for layer in layers])
    return [
        Change(value=value, low=float(low), high=float(high), p_holm=float(p))
        for layer, p in zip(layers, p_values, strict=True)
        for value, low, high in [paired_difference(layer, base)]
        if low is not None and high is not None
    ]


@torch.no_grad()
def _turned(base: nn.Module, other: nn.Module, name: str, what: str) -> nn.Module:
    """A layer of which everything is as in the other model, or its weights or its input quantizer alone."""
    kept, turned = (dict(compute_layers(model))[name] for model in (base, other))
    if what == "both":
        return turned
    layer = copied(turned if what == "inputs" else kept)
    layer.get_parameter("weight").copy_(kept.weight if what == "inputs" else turned.weight)
    return layer
