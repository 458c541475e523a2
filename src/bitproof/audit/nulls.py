"""What rounding could have been: random perturbations of a weight or an input with exactly the size of its error.

Nearest rounding is a function of the weights, so nothing is random until it is said what is. The null hypothesis is
that whoever made the weights did not use where they lie between the levels of this grid. Then the signs of the rounding
errors are as good as coins, given their sizes, and the quantized model is one of many that are alike:

    sign flip     w + s e, with s = +-1 by a fair coin. Same size, weight by weight; the default.
    dither        w + D (U - 1/2): rounding on a grid whose origin is random for each weight (Schuchman 1964).
    grid shift    rounding to nearest on D (Z + phi), one phi for all weights that share a step: the only real rounding.

Stochastic rounding on the same grid is none of them: its error has twice the energy, so that nearest rounding looks
better than its draws in any clean model, and in many that are not (`benchmarks/audit.py`).

Weights without an error (zeros, extremes, weights that lie on the grid already) keep it at zero, and clipped ones keep
their error: it never had another sign.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from bitproof.audit.case import Rounded
from bitproof.core.rng import Rng
from bitproof.quant.attached import INPUT_QUANTIZER, compute_layers, input_quantizer
from bitproof.quant.blocks import BLOCK

Null = Callable[[Rounded, Rng], Float[Tensor, "out ..."]]
"""A layer's weight and randomness to another weight that it could have been rounded to."""

ROUNDING = 1e-4
"""In steps: an error this small is that of float32, and no rounding."""


def moved(rounded: Rounded) -> Tensor:
    """Which weights are moved by rounding, and could have been moved otherwise."""
    return rounded.free & (rounded.error.abs() > ROUNDING * rounded.step)


def sign_flip(rounded: Rounded, rng: Rng) -> Float[Tensor, "out ..."]:
    """The error of each weight with the sign of a coin."""
    back = moved(rounded) & (_uniform(rng, rounded.weight) < 0.5)
    return torch.where(back, rounded.weight - rounded.error, rounded.level)


def dither(rounded: Rounded, rng: Rng) -> Float[Tensor, "out ..."]:
    """An error that is uniform within half a step."""
    drawn = rounded.weight + rounded.step * (_uniform(rng, rounded.weight) - 0.5)
    return torch.where(moved(rounded), drawn, rounded.level)


def grid_shift(rounded: Rounded, rng: Rng) -> Float[Tensor, "out ..."]:
    """Nearest levels of a grid that is shifted by a part of a step, the same for all weights that share one."""
    shift = _uniform(rng, rounded.step) - 0.5
    drawn = ((rounded.weight / rounded.step - shift).round() + shift) * rounded.step
    return torch.where(moved(rounded), drawn, rounded.level)


NULLS: dict[str, Null] = {"sign flip": sign_flip, "dither": dither, "grid shift": grid_shift}


class FlippedInput(nn.Module):
    """Takes the place of an input's quantizer: each place of the input has a coin for the sign of its error.

    The coins are those of the place, the same for all images: so answers do not depend on the batch, and as errors of
    an honest grid have signs that do not go together across images, neither have they after it. Where a layer before
    saturates (hardtanh, ReLU6), many places have one and the same value, and rounding moves them all alike: so the
    smallest value of an image has one coin wherever it is, and the largest another one.
    """

    def __init__(self, quantizer: nn.Module, rng: Rng) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.rng = rng
        self.turns: dict[tuple[int, ...], Tensor] = {}
        self.ends = [2.0 * (coin < 0.5) for coin in rng.fold("ends").uniform((2,))[0].tolist()]

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        rounded = self.quantizer(x)
        shape, half = tuple(x.shape[1:]), self._half()
        if shape not in self.turns:
            coins = self.rng.fold(*shape).uniform(shape)[0]
            self.turns[shape] = torch.where(coins < 0.5, 2.0, 0.0).to(x)
        count = max(1, BLOCK // max(1, self.turns[shape].numel()))
        for given, made in zip(x.split(count), rounded.split(count), strict=True):
            back = given - made
            back -= F.hardshrink(back, half)  # what is clipped stays clipped
            made.addcmul_(back, self._turned(given, self.turns[shape]))
        return rounded

    def _turned(self, x: Tensor, turns: Tensor) -> Tensor:
        """By how many errors each place goes back: two or none. Arithmetic, as comparisons take six times as long."""
        inner = tuple(range(1, x.dim()))
        ends = (1.0, x.amin(inner, keepdim=True)), (-1.0, x.amax(inner, keepdim=True))
        for (side, end), turn in zip(ends, self.ends, strict=True):
            if not self.quantizer(end).equal(end):  # as ReLU's zeros are
                turns = (x - end).sign_().mul_(side * (turns - turn)).add_(turn)
        return turns

    def _half(self) -> float:
        """Half a step of the quantizer's grid, with slack for float32."""
        grid = self.quantizer.code_grid()  # pyright: ignore
        return float("inf") if isinstance(grid, str) else float(grid.scale) * (0.5 + ROUNDING)


def flip_inputs(model: nn.Module, rng: Rng | None) -> None:
    """Put coins for the signs of all input errors into a model, in place; None takes them out again."""
    for name, layer in compute_layers(model):
        now = getattr(layer, INPUT_QUANTIZER, None)
        plain = now.quantizer if isinstance(now, FlippedInput) else input_quantizer(layer)
        if plain is not None:
            layer.add_module(INPUT_QUANTIZER, plain if rng is None else FlippedInput(plain, rng.fold(name)).eval())


def _uniform(rng: Rng, like: Tensor) -> Tensor:
    return rng.uniform(tuple(like.shape))[0].to(like.device)
