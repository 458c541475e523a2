"""Random perturbations have the size of the rounding error, and touch nothing that rounding does not."""

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.audit import Rounded
from bitproof.audit.nulls import NULLS, FlippedInput, flip_inputs, moved
from bitproof.quant.codes import Codes
from bitproof.quant.grid import AffineQuantizer

RNG = bp.Rng(0, np.zeros(1, np.int64))


def rounded(weight, step=0.1, largest=7):
    """Weights on a symmetric grid whose codes end at `largest`."""
    codes = weight / step
    level = codes.round().clamp(-largest, largest) * step
    return Rounded(weight=weight, level=level, step=torch.tensor(step), free=codes.abs() <= largest)


WEIGHTS = torch.linspace(-0.65, 0.65, 4001).view(4001, 1)


@pytest.mark.parametrize("name", NULLS)
def test_a_draw_has_the_energy_of_the_error(name):
    of = rounded(WEIGHTS)
    energies = [
        float(((NULLS[name](of, RNG.fold(i)) - of.weight) ** 2).mean() / (of.error**2).mean()) for i in range(20)
    ]
    assert np.mean(energies) == pytest.approx(1, abs=0.01 if name != "grid shift" else 0.05)


def test_a_sign_flip_keeps_the_size_of_every_error_and_turns_half_of_them():
    of = rounded(WEIGHTS)
    drawn = NULLS["sign flip"](of, RNG) - of.weight
    assert torch.allclose(drawn.abs(), of.error.abs(), atol=1e-6)
    assert 0.45 < float((drawn * of.error < 0).float().mean()) < 0.55


@pytest.mark.parametrize("name", NULLS)
def test_what_lies_on_the_grid_and_what_is_clipped_stays(name):
    weight = torch.tensor([[0.0, 0.1, -0.7, 0.7, 0.93, -2.0]])
    of = rounded(weight)
    assert torch.equal(NULLS[name](of, RNG), of.level)


def test_grid_shift_lands_on_one_shifted_grid():
    of = rounded(WEIGHTS)
    parts = (NULLS["grid shift"](of, RNG) / 0.1)[moved(of)] % 1
    assert float(parts.max() - parts.min()) < 1e-3


def test_inputs_keep_the_size_of_their_errors_whatever_the_batch():
    quantizer = AffineQuantizer(Codes.of(4, symmetric=False), symmetric=False)
    quantizer.set_range(torch.tensor(0.0), torch.tensor(1.5))
    layer = nn.Sequential(nn.Linear(50, 2))
    layer[0].add_module("input_quantizer", quantizer)
    x = torch.rand(6, 50) * 2
    flip_inputs(layer, RNG)
    flipped = layer[0].input_quantizer
    assert isinstance(flipped, FlippedInput)
    whole = flipped(x)
    assert torch.equal(whole[4:], flipped(x[4:]))
    error = quantizer(x) - x
    assert torch.allclose((whole - x).abs(), error.abs(), atol=1e-6)
    clipped = x > 1.55
    assert clipped.any() and torch.equal(whole[clipped], quantizer(x)[clipped])
    assert ((whole - x) * error < 0)[~clipped].float().mean() > 0.3
    flip_inputs(layer, None)
    assert layer[0].input_quantizer is quantizer


@pytest.mark.parametrize("low", [0.0, -0.5])
def test_inputs_go_back_by_twice_their_error_or_by_nothing(low):
    """The definition, number by number, on more numbers than are worked on together."""
    quantizer = AffineQuantizer(Codes.of(4, symmetric=False), symmetric=False)
    quantizer.set_range(torch.tensor(low), torch.tensor(1.0))
    x = (torch.randn(3, 5, 150, 150) / 2).clamp(min=low)
    flipped, rounded = FlippedInput(quantizer, RNG), quantizer(x)
    back = RNG.fold(5, 150, 150).uniform((5, 150, 150)) < 0.5
    of_ends = RNG.fold("ends").uniform((2,))[0] < 0.5
    for end, coin in zip((x.amin, x.amax), of_ends, strict=True):
        back = torch.where(x == end((1, 2, 3), keepdim=True), coin, back)
    free = (rounded - x).abs() <= quantizer.scale / 2 * (1 + 2e-4)
    assert torch.allclose(flipped(x), torch.where(free & back, 2 * x - rounded, rounded), atol=1e-6)


def test_what_saturates_moves_together():
    """Behind a hardtanh most places hold -1 or 1: their errors are one error, and have one coin."""
    quantizer = AffineQuantizer(Codes.of(4, symmetric=False), symmetric=False)
    quantizer.set_range(torch.tensor(-1.0), torch.tensor(1.0))
    x = (3 * torch.randn(5, 40)).clamp(-1, 1)
    error = quantizer(x) - x
    seen = set()
    for number in range(12):
        given = FlippedInput(quantizer, RNG.fold(number))
        moved_by = given(x) - x
        assert torch.allclose(moved_by.abs(), error.abs(), atol=1e-6)
        assert torch.equal(given(x[2:3]), given(x)[2:3])
        for end in (-1.0, 1.0):
            (sign,) = set((moved_by / error)[x == end].round().int().tolist())
            seen.add((end, sign))
    assert seen == {(-1.0, -1), (-1.0, 1), (1.0, -1), (1.0, 1)}
