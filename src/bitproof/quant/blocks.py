"""Rounding onto a grid, and its straight-through gradient, as fast as a CPU reads the numbers.

A grid that is one for the whole tensor is several times faster by plain operations on parts that fit the processor's
cache than by torch's fused operators; elsewhere (one step a channel, a GPU) the operations are on whole tensors.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK = 1 << 18
"""Numbers of a block, 1 MB: several operations on it meet it in the processor's cache, which halves their time."""

SLACK = 2**-20
"""How far outside an open interval its ends lie, in steps or bounds, for them to count as inside: zero, black and white
have a gradient."""


def rounded(
    x: Float[Tensor, "..."], step: Tensor | float, low: Tensor | float, high: Tensor | float
) -> Float[Tensor, "..."]:
    """`x` half to even onto multiples low..high (whole numbers) of `step`, all of which broadcast against it.

    Example:
        >>> rounded(torch.tensor([-9.0, 0.75, 9.0]), 0.5, -2, 3).tolist()
        [-1.0, 1.0, 1.5]
    """
    numbers = number(step), number(low), number(high)  # a clamp between numbers takes half the time
    if x.device.type != "cpu" or None in numbers:
        return torch.clamp_(torch.div(x, step).round_(), low, high).mul_(step)  # pyright: ignore
    size, lowest, highest = numbers
    y = torch.empty_like(x, dtype=torch.result_type(x, step))
    for given, made in _in_blocks(x, y):
        torch.div(given, size, out=made).round_().clamp_(lowest, highest).mul_(size)  # pyright: ignore
    return y


def between(
    gradient: Float[Tensor, "..."], x: Float[Tensor, "..."], low: Tensor | float, high: Tensor | float
) -> Float[Tensor, "..."]:
    """The gradient where low < x < high, and zero elsewhere."""
    lowest, highest = number(low), number(high)
    if lowest is None or highest is None:
        return gradient * ((x > low) & (x < high))
    return torch.ops.aten.hardtanh_backward(gradient, x, lowest, highest)  # one fused pass: the clamp's own gradient


def number(value: Tensor | float) -> float | None:
    """What can be read at no cost: a number, or a tensor of one; not from a GPU, where that waits for all work."""
    if not isinstance(value, Tensor):
        return value
    return value.item() if value.numel() == 1 and value.device.type == "cpu" else None


def in_memory(*tensors: Float[Tensor, "..."]) -> list[Tensor] | None:
    """The numbers of tensors of one shape in the order in which they lie in memory, if that is the same and no gaps."""
    first, *others = tensors
    if any(z.stride() != first.stride() for z in others):
        return None
    if first.is_contiguous() or (first.dim() == 4 and first.is_contiguous(memory_format=torch.channels_last)):
        return [z.as_strided((z.numel(),), (1,)) for z in tensors]
    return None


def _in_blocks(*tensors: Float[Tensor, "..."]) -> Iterable[tuple[Tensor, ...]]:
    """Parts of tensors of one shape, or the tensors whole if they are small or lie in memory each in its own way."""
    if tensors[0].numel() <= BLOCK or (rows := in_memory(*tensors)) is None:
        return (tensors,)
    return zip(*(row.split(BLOCK) for row in rows), strict=True)
