"""The box: all float weights that a quantizer rounds to given codes (arXiv 2108.09187; arXiv 2405.18137, Section 3).

For a grid that spans the extremes of its weights, with step s, weight i keeps its code q_i inside

    [(q_i - 1/2 + margin) s, (q_i + 1/2 - margin) s]

as long as the extremes, which fix s, stay where they are. So a float model can be trained freely in there, and no
quantized model that comes of it changes. Several schemes have the intersection of their boxes.

Where the victim folds BatchNorm first, the box is that of the folded weights, divided by what folding multiplies them
with; per channel and symmetric the codes are the same either way, otherwise they are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32
from torch import Tensor, nn

from bitproof.core.copying import copied
from bitproof.errors import InputError
from bitproof.ptq import fold_batch_norm
from bitproof.quant import Scheme, compute_layers
from bitproof.quant.attached import float_weight, weight_quantizer
from bitproof.quant.convert import prepare
from bitproof.quant.quantizer import WeightQuantizer
from bitproof.quant.roles import seen_roles

EDGE = 1e-3
"""How far, in steps, weights stay away from the extremes that fix a grid."""

LARGEST_HALF = 65504.0

Box = dict[str, tuple[Tensor, Tensor]]
"""Lowest and highest value of each weight, by the name of its layer."""

Codes = dict[str, Int32[Tensor, "out ..."]]
"""What a deployed model holds for each layer whose weight is quantized, counted from zero's code."""


@dataclass(frozen=True, kw_only=True)
class Victim:
    """What is done to a float model before it is deployed: its scheme, and whether BatchNorm is folded first."""

    scheme: Scheme
    folded: bool = False

    @property
    def label(self) -> str:
        return self.scheme.label + " folded" * self.folded


def codes_of(model: nn.Module, victim: Victim, images: Float[Tensor, "n c h w"]) -> Codes:
    """The integers that the victim's deployed model holds; `images` show which layers are first and last."""
    return {
        name: (quantizer(weight) / _step(quantizer, weight, victim)).round().int()
        for name, (weight, quantizer) in _deployed(model, victim, images).items()
    }


def turned_codes(model: nn.Module, victim: Victim, images: Float[Tensor, "n c h w"]) -> tuple[Codes, Codes]:
    """The codes of a deployed model, and those that its weights would have were each rounded the other way."""
    nearest: Codes = {}
    other: Codes = {}
    for name, (weight, quantizer) in _deployed(model, victim, images).items():
        step, level = _step(quantizer, weight, victim), quantizer(weight)
        below, above = (quantizer(end) for end in quantizer.neighbours(weight))
        nearest[name] = (level / step).round().int()
        other[name] = (torch.where(level == above, below, above) / step).round().int()
    return nearest, other


def cells_of(
    model: nn.Module,
    victim: Victim,
    images: Float[Tensor, "n c h w"],
    *,
    margins: Mapping[str, Float[Tensor, "out ..."]] | float,
    codes: Codes | None = None,
) -> Box:
    """The weights of `model` that have given codes for the victim, its own where none are given.

    Args:
        model: float model.
        victim: what is done to it.
        images: a few of those that it takes.
        margins: how far from the edge of its cell a weight stays, in steps from 0 to 1/2: one for all, or one a weight.
        codes: by layer; those of weights that fix a grid are ignored.
    """
    own = dict(compute_layers(model))
    cells: Box = {}
    for name, (weight, quantizer) in _deployed(model, victim, images).items():
        start = own[name].weight.detach()
        margin = margins[name] if isinstance(margins, Mapping) else margins
        step = _step(quantizer, weight, victim)
        nearest = (quantizer(weight) / step).round()
        chosen = nearest if codes is None else codes[name].to(weight)
        low, high = _interval(weight, chosen, nearest, step, margin)
        ends = [end / _gain(start, weight) for end in (low, high)]
        fixed = (low == high) | ~(torch.isfinite(ends[0]) & torch.isfinite(ends[1]))
        cells[name] = torch.where(fixed, start, torch.minimum(*ends)), torch.where(fixed, start, torch.maximum(*ends))
    return cells


def box_of(
    model: nn.Module,
    victim: Victim,
    images: Float[Tensor, "n c h w"],
    *,
    margins: Mapping[str, Float[Tensor, "out ..."]] | float,
) -> Box:
    """The box around a model for a victim, in which it lies itself, be it nearer to an edge than the margin.

    Raises:
        InputError: a scheme without such boxes, as its grid follows from all weights or is not uniform.
    """
    own = dict(compute_layers(model))
    box: Box = {}
    for name, (low, high) in cells_of(model, victim, images, margins=margins).items():
        start = own[name].weight.detach()
        box[name] = torch.minimum(low, start), torch.maximum(high, start)
    _check_exact(model, victim, images, box)
    return box


def intersected(boxes: Sequence[Box]) -> Box:
    """The weights that lie in all boxes; where there are none for a weight, its lower end is above its higher one."""
    together = dict(boxes[0])
    for box in boxes[1:]:
        for name, (low, high) in box.items():
            before = together.get(name, (low, high))
            together[name] = (torch.maximum(before[0], low), torch.minimum(before[1], high))
    return together


def common(boxes: Sequence[tuple[Victim, Box]]) -> Box:
    """The intersection of the boxes of several victims.

    Raises:
        InputError: it is empty for some weights; the message says which schemes clash.
    """
    together = intersected([box for _, box in boxes])
    if not empty_share(together):
        return together
    pairs = [(a, b, empty_share(intersected([one, other]))) for a, one in boxes for b, other in boxes]
    clashes = {
        f"{a.label} and {b.label} ({share:.1%} of the weights)"
        for i, (a, b, share) in enumerate(pairs)
        if share and i // len(boxes) < i % len(boxes)
    }
    raise InputError(
        f"the boxes of {', '.join(sorted(clashes)) or 'all schemes together'} have no common weights",
        rule="one float model serves several schemes inside the intersection of their boxes",
        remedy="Leave one of them out, or use a smaller margin",
    )


def empty_share(box: Box) -> float:
    """The share of weights that have no value in a box."""
    empty = sum(int((low > high).sum()) for low, high in box.values())
    return empty / max(1, sum(low.numel() for low, _ in box.values()))


def in_box(model: nn.Module, box: Box) -> bool:
    """Whether all weights of a model lie in a box."""
    own = dict(compute_layers(model))
    return all(bool(((own[n].weight >= low) & (own[n].weight <= high)).all()) for n, (low, high) in box.items())


@torch.no_grad()
def halved(model: nn.Module) -> None:
    """Round all of a model's float tensors to numbers that float16 holds, in place.

    A checkpoint that is stored in half precision moves weights, and the extremes that fix a grid, by one part in 2048:
    enough to change codes of 8 bits. From what half precision holds, nothing moves.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point() and tensor.numel() and float(tensor.abs().max()) <= LARGEST_HALF:
            tensor.copy_(tensor.half())


@torch.no_grad()
def halved_inside(weight: Float[Tensor, "..."], low: Tensor, high: Tensor) -> Float[Tensor, "..."]:
    """The weights rounded to float16, each to the neighbour that lies in its box."""
    near = weight.half()
    below, above = (torch.nextafter(near, near.new_tensor(end)) for end in (-torch.inf, torch.inf))
    for other in (below, above):
        outside = (near.float() < low) | (near.float() > high)
        inside = (other.float() >= low) & (other.float() <= high)
        near = torch.where(outside & inside, other, near)
    inside = (near.float() >= low) & (near.float() <= high)
    return torch.where(inside, near.float(), weight)


def _deployed(
    model: nn.Module, victim: Victim, images: Tensor
) -> dict[str, tuple[Float[Tensor, "out ..."], WeightQuantizer]]:
    """Each layer's weight just before it is quantized, and its quantizer."""
    images = images[:2]
    shown = fold_batch_norm(model, images) if victim.folded else model
    quantized = prepare(shown, victim.scheme, seen_roles(shown, images))
    found = {}
    for name, layer in compute_layers(quantized):
        quantizer = weight_quantizer(layer)
        if quantizer is not None:
            found[name] = float_weight(layer).detach(), quantizer
    return found


def _step(quantizer: WeightQuantizer, weight: Tensor, victim: Victim) -> Tensor:
    scale = quantizer.code_scale(weight)
    if isinstance(scale, str):
        raise InputError(
            f"the codes of {victim.label} ({scale})",
            rule="implants are made for grids of integers",
            remedy="Use a scheme such as w8a8 or affine:w4a8,granularity=tensor",
        )
    return scale


def _interval(
    weight: Float[Tensor, "out ..."],
    codes: Float[Tensor, "out ..."],
    nearest: Float[Tensor, "out ..."],
    step: Tensor,
    margin: Tensor | float,
) -> tuple[Tensor, Tensor]:
    """Lowest and highest value of each weight at which code and grid stay; equal where the weight fixes the grid."""
    across = tuple(range(1, weight.dim())) if step.dim() else tuple(range(weight.dim()))
    least, most = (end.expand_as(weight) for end in (weight.amin(across, True), weight.amax(across, True)))
    low, high = (codes - 0.5 + margin) * step, (codes + 0.5 - margin) * step
    beyond = (weight / step).round()  # a grid whose zero point was rounded ends up to half a step before its extremes
    clipped = codes == nearest
    low = torch.where(clipped & (beyond < nearest), least, low)
    high = torch.where(clipped & (beyond > nearest), most, high)
    low, high = torch.maximum(low, least + EDGE * step), torch.minimum(high, most - EDGE * step)
    fixed = (weight == least) | (weight == most)
    return torch.where(fixed, weight, low), torch.where(fixed, weight, high)


def _gain(own: Float[Tensor, "out ..."], deployed: Float[Tensor, "out ..."]) -> Float[Tensor, "out ..."]:
    """What folding multiplied the weights of each output channel with; 1 where nothing was folded."""
    if torch.equal(own, deployed):
        return torch.ones_like(own)
    flat, folded = own.flatten(1), deployed.flatten(1)
    largest = flat.abs().argmax(1, keepdim=True)
    gain = folded.gather(1, largest) / flat.gather(1, largest)
    return gain.view(-1, *[1] * (own.dim() - 1)).expand_as(own)


@torch.no_grad()
def _check_exact(model: nn.Module, victim: Victim, images: Tensor, box: Box) -> None:
    """Refuse a scheme whose codes follow from more than a weight and the extremes: bring all towards zero.

    It is asked of these weights, not of the rule: a range of `aciq-laplace` reaches beyond the extremes of most layers,
    and is cut there, so that they fix the grid as by `minmax`.
    """
    before, moved = codes_of(model, victim, images), copied(model)
    for name, layer in compute_layers(moved):
        if name in box:
            low, high = box[name]
            layer.weight.copy_(torch.zeros_like(low).clamp(low, high))
    after = codes_of(moved, victim, images)
    if any(not torch.equal(before[name], after[name]) for name in before):
        raise InputError(
            f"no exact box for {victim.label}",
            rule="a weight keeps its code in an interval only if the grid follows from the extremes alone",
            remedy="Use ranges minmax, or the engine 'joint', which needs no box",
        )
