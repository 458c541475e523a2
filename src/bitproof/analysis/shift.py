"""Quantization value shift: roundings swallow a change of the image, or make it larger (Bernhard et al. 2019, 5.2.2).

A unit is one number that a layer is given. Its change from x to x' is swallowed where the float model's values differ
and the quantized model's codes do not; it is made larger where codes differ though the float values are less than half
a step apart. Both explain why images that deceive one of the two may not deceive the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from bitproof.analysis.amplification import random_signs
from bitproof.analysis.base import Case, Explanation, quantized
from bitproof.analysis.watching import LOGITS, layer_inputs
from bitproof.attacks import FGSM, Attack
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.quant.attached import compute_layers, input_quantizer
from bitproof.records import ModelRecord, ValueShift


@dataclass(frozen=True, kw_only=True)
class QuantizationShift(Explanation):
    """Quantization value shift: which changes of the image roundings swallow or make larger, layer by layer.

    Attributes:
        attack: makes the changed images on the float model; random signs of its size are the control.
    """

    record: ClassVar = ValueShift

    attack: Attack = field(default_factory=lambda: FGSM(eps=4 / 255, stop_at_hit=False))

    def __post_init__(self) -> None:
        if self.attack.norm != "linf" or self.attack.eps > 1:
            raise InputError(
                f"the attack is {self.attack.label}",
                rule="its images are compared with random signs as large as its linf budget",
                remedy="Use fgsm, bim or pgd under linf",
            )

    def groups(self, models: Sequence[ModelRecord]) -> list[tuple[ModelRecord, ...]]:
        return [group for group in quantized(models, act=True) if len(group) == 2]

    def passes(self, models: Sequence[ModelRecord]) -> int:
        return 6 + self.attack.passes

    def look(self, case: Case) -> dict[str, Any]:
        if len(case.models) != 2:
            raise InputError(
                f"{len(case.models)} models", rule="a quantized one is compared with its float twin", remedy="Pass both"
            )
        _, twin = case.models
        names: list[str] = []

        def shares(inputs: Tensor, labels: Tensor, rng: Rng) -> dict[str, Tensor]:
            made = self.attack(twin, inputs, labels, rng=rng.fold("attack"))
            noisy = (inputs + self.attack.eps * random_signs(inputs, rng)).clamp(0, 1)
            clean = _given(case.models, inputs)
            moved = [_moved(case.models[0], clean, _given(case.models, images)) for images in (made, noisy)]
            names[:] = moved[0]
            if not names:
                raise InputError(
                    "the two models have no layer in common",
                    rule="layers are compared by their names and the shapes of their inputs",
                    remedy="Pass the float model that the quantized one was made from",
                )
            return {"shares": torch.stack([torch.stack([*of.values()], -1) for of in moved], 1)}

        found = case.over(shares)["shares"]
        return {
            "layers": tuple(names),
            "attack": self.attack.label,
            "shares": found.mean(0),
            "count": len(found),
        }


def shifted_units(
    rounded: Counted, twin: Counted, images: Tensor, changed: Tensor
) -> dict[str, Float[Tensor, "n shares"]]:
    """Each of the record's `SHARES` of the units of each layer that the two models have in common.

    Args:
        rounded: a quantized model.
        twin: the float model that it was made from.
        images, changed: before and after a change, [n, c, h, w] in [0, 1].
    """
    before, after = (_given((rounded, twin), of) for of in (images, changed))
    return _moved(rounded, before, after)


_Inputs = list[dict[str, Tensor]]
"""What layers are given, of a quantized model and its twin."""


def _given(models: Sequence[Counted], images: Tensor) -> _Inputs:
    return [layer_inputs(model, images) for model in models]


def _moved(rounded: Counted, before: _Inputs, after: _Inputs) -> dict[str, Float[Tensor, "n shares"]]:
    steps = _steps(rounded)
    sizes = ((new, old) for new, old in zip(after, before, strict=True))
    names = [name for name in before[0] if name in steps and _fits(name, *before)]
    codes, values = ({name: (new[name] - old[name]).abs() for name in names} for new, old in sizes)
    return {name: _shares(codes[name], values[name], steps[name]) for name in names}


def _steps(model: Counted) -> dict[str, float]:
    """The step of the grid of each layer's input; NaN where it has no single one."""
    steps = {}
    for name, layer in compute_layers(model.model):  # pyright: ignore - a module
        if (quantizer := input_quantizer(layer)) is not None:
            grid = quantizer.code_grid()
            steps[name] = float("nan") if isinstance(grid, str) else float(grid.scale)
    return steps


def _fits(name: str, one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return name != LOGITS and name in other and one[name].shape == other[name].shape


def _shares(codes: Tensor, values: Tensor, step: float) -> Float[Tensor, "n shares"]:
    """Each of the record's `SHARES`, [n, 4]: from the sizes of changes on the grid and in float."""
    moved, kept = values.flatten(1) > 0, codes.flatten(1) == 0
    near = values.flatten(1) < step / 2
    flags = torch.stack([moved, moved & kept, ~kept, ~kept & near]).double()
    if step != step:  # no single step
        flags[3] = float("nan")
    return flags.mean(-1).T
