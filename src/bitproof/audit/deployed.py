"""The weights of a deployed model, out of its codes and scales, and which layer of the float model each belongs to.

Layers are matched by shape, and among those of one shape by the distance of their weights: files name their layers as
they like. A model that folds BatchNorm has other weights, so both forms of the float model are tried.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from torch import Tensor, nn

from bitproof.deploy import IntegerForm
from bitproof.deploy.codes import Stored
from bitproof.deploy.session import Session
from bitproof.quant import compute_layers
from bitproof.quant.attached import rounded_weight, weight_quantizer

UNLIKE = 0.7
"""Weights that differ by more than this part of their norm are not those of the same layer."""


def read_layers(deployed: nn.Module) -> list[Stored] | str:
    """The weights of all layers that hold codes, or the reason why they cannot be read."""
    found = list(_of_modules(deployed))
    if found:
        return found
    files = [part for part in deployed.modules() if isinstance(part, Session)]
    if len(files) != 1:
        return "the codes of this kind of model cannot be read"
    found = files[0].codes()
    return found or "the file holds no layers of integers whose scales are known"


def _of_modules(model: nn.Module) -> Iterator[Stored]:
    for name, layer in compute_layers(model):
        quantizer = weight_quantizer(layer)
        if quantizer is None:
            continue
        step = quantizer.code_scale(rounded_weight(layer))
        if not isinstance(step, str):
            yield Stored(name=name, level=layer.weight.detach(), step=step.detach())
    for part in model.modules():
        if isinstance(part, IntegerForm):
            for layer in part.layers().values():
                axis = [-1, *[1] * (layer.codes.dim() - 1)]
                level = (layer.codes.float() - layer.zero_point) * layer.scale.view(axis)
                yield Stored(level=level, step=layer.scale.view(axis))


def matched(model: nn.Module, stored: list[Stored]) -> dict[str, tuple[Tensor, Stored]]:
    """Each stored weight beside that of its layer in a float model, by the layer's name; empty where none fits."""
    left = {name: layer.weight.detach() for name, layer in compute_layers(model)}
    pairs: dict[str, tuple[Tensor, Stored]] = {}
    seen: list[Tensor] = []
    maps = {len(found.level) for found in stored if found.level.dim() > 2}
    for found in stored:
        near = min(_candidates(left, found, maps), key=lambda candidate: candidate[0], default=None)
        if near is None or near[0] > UNLIKE:
            if any(found.level.equal(other) for other in seen):
                continue  # a layer that is used twice stands in a file twice
            return {}
        seen.append(found.level)
        _, name, turned = near
        pairs[name] = (left.pop(name), turned)
    return pairs


def _candidates(left: Mapping[str, Tensor], found: Stored, maps: set[int]) -> Iterator[tuple[float, str, Stored]]:
    """Distance, layer and form, for each layer whose weight a stored one may be: as it is, transposed, or, behind
    `maps` of features that are flattened channels-last, with these in torch's order."""
    forms = [found]
    if found.level.dim() == 2:
        forms.append(_with(found, lambda x: x.T))
        forms += [
            _with(found, lambda x, m=m: x.unflatten(1, (-1, m)).transpose(1, 2).flatten(1) if x.shape[1] > 1 else x)
            for m in maps
            if found.level.shape[1] % m == 0 and found.level.shape[1] > m
        ]
    for name, weight in left.items():
        for form in forms:
            if form.level.shape == weight.shape and found.name in ("", name):
                away = (form.level - weight).norm() / weight.norm().clamp(min=1e-12)
                yield float(away), name, form


def _with(found: Stored, change: Callable[[Tensor], Tensor]) -> Stored:
    step = change(found.step) if found.step.dim() == 2 else found.step
    return replace(found, level=change(found.level), step=step)


def distance(pairs: Mapping[str, tuple[Tensor, Stored]]) -> float:
    """How far all stored weights are from the float ones, as a part of their norm."""
    away = sum(float((found.level - weight).square().sum()) for weight, found in pairs.values())
    return away / max(sum(float(weight.square().sum()) for weight, _ in pairs.values()), 1e-12)
