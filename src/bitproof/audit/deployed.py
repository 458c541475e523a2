"""The weights of a deployed model, out of its codes and scales, and which layer of the float model each belongs to.

Layers are matched by shape, and among those of one shape by the distance of their weights: files name their layers as
they like. A model that folds BatchNorm has other weights, so both forms of the float model are tried.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from bitproof.deploy import IntegerForm, OnnxModel
from bitproof.deploy.bits import ON_CODES
from bitproof.deploy.graph import Operation
from bitproof.deploy.integer_operators import along, dequantize
from bitproof.quant import compute_layers
from bitproof.quant.attached import weight_quantizer

UNLIKE = 0.7
"""Weights that differ by more than this part of their norm are not those of the same layer."""

SCALED = {"QLinearConv": 0, "QLinearMatMul": -1, "QGemm": 0}
"""Operators whose weight is followed by its scale and zero point, and the axis along which these may differ."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """One weight of a deployed model.

    Attributes:
        name: of its layer, where that is the float model's; "" where files name it as they like.
        level: float32 [out, ...], what its codes stand for.
        step: the scale, which broadcasts against it.
    """

    name: str
    level: Float[Tensor, "out ..."]
    step: Float[Tensor, "..."]


def read_layers(deployed: nn.Module) -> list[Stored] | str:
    """The weights of all layers that hold codes, or the reason why they cannot be read."""
    found = list(_of_modules(deployed))
    if found:
        return found
    sessions = [part for part in deployed.modules() if isinstance(part, OnnxModel)]
    if len(sessions) != 1:
        return "the codes of this kind of model cannot be read"
    found = list(_of_graph(sessions[0].graph()))
    return found or "the file holds no layers of integers whose scales are known"


def _of_modules(model: nn.Module) -> Iterator[Stored]:
    for name, layer in compute_layers(model):
        quantizer = weight_quantizer(layer)
        if quantizer is None:
            continue
        step = quantizer.code_scale(layer.parametrizations.weight.original)
        if not isinstance(step, str):
            yield Stored(name=name, level=layer.weight.detach(), step=step.detach())
    for part in model.modules():
        if isinstance(part, IntegerForm):
            for layer in part.layers().values():
                axis = [-1, *[1] * (layer.codes.dim() - 1)]
                level = (layer.codes.float() - layer.zero_point) * layer.scale.view(axis)
                yield Stored(name="", level=level, step=layer.scale.view(axis))


def _of_graph(graph: nn.Module) -> Iterator[Stored]:
    for step in (part for part in graph.modules() if isinstance(part, Operation)):
        if step.operator == "DequantizeLinear":
            place, axis = 0, int(step.attributes.get("axis", 1))
        elif step.operator in SCALED:
            place, axis = ON_CODES[step.operator], SCALED[step.operator]
        else:
            continue
        codes, scale, zero = (_constant(step, place + i) for i in range(3))
        if codes is None or scale is None or codes.dim() < 2:
            continue
        level, unit = dequantize(codes, scale, zero, axis=axis), along(scale, codes, axis)
        yield Stored(name="", level=level, step=unit)


def _constant(step: Operation, number: int) -> Tensor | None:
    return getattr(step, f"constant_{number}", None)


def matched(model: nn.Module, stored: list[Stored]) -> dict[str, tuple[Tensor, Stored]]:
    """Each stored weight beside that of its layer in a float model, by the layer's name; empty where none fits."""
    left = {name: layer.weight.detach() for name, layer in compute_layers(model)}
    pairs: dict[str, tuple[Tensor, Stored]] = {}
    for found in stored:
        near = min(_candidates(left, found), key=lambda candidate: candidate[0], default=None)
        if near is None or near[0] > UNLIKE:
            return {}
        _, name, turned = near
        pairs[name] = (left.pop(name), turned)
    return pairs


def _candidates(left: Mapping[str, Tensor], found: Stored) -> Iterator[tuple[float, str, Stored]]:
    forms = [found]
    if found.level.dim() == 2:
        forms.append(Stored(name="", level=found.level.T, step=found.step.T if found.step.dim() == 2 else found.step))
    for name, weight in left.items():
        for form in forms:
            if form.level.shape == weight.shape and found.name in ("", name):
                away = (form.level - weight).norm() / weight.norm().clamp(min=1e-12)
                yield float(away), name, form


def distance(pairs: Mapping[str, tuple[Tensor, Stored]]) -> float:
    """How far all stored weights are from the float ones, as a part of their norm."""
    away = sum(float((found.level - weight).square().sum()) for weight, found in pairs.values())
    return away / max(sum(float(weight.square().sum()) for weight, _ in pairs.values()), 1e-12)
