"""Weights that know where the edges of a grid lie are seen, and the grid is named."""

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.audit import Case, Phases
from bitproof.audit.case import Form, Rounded
from bitproof.audit.phases import AT, LEAST, STEPS, Spectrum, _spectra, counted, spectrum
from bitproof.records import UNDECIDED

RANDOM = np.random.default_rng(0)


def gaussian(bits: int, n: int = 20_000) -> np.ndarray:
    """Weights as those of a layer, in steps of a grid of so many bits that spans them."""
    weights = RANDOM.normal(size=n)
    return weights / np.abs(weights).max() * (2 ** (bits - 1) - 1)


@pytest.mark.parametrize("bits", [8, 6, 4, 3])
def test_a_grid_that_nobody_aimed_at_does_not_stand_out(bits):
    assert spectrum(counted(gaussian(bits))).z < 5


def test_of_even_weights_a_fifth_lies_near_an_edge_and_in_large_layers_no_grid_stands_out_either():
    """Red: bins counted 13 of 64 near an edge at the scheme's own step alone, which in a million weights is z = 5."""
    assert spectrum(counted(np.linspace(0, 100, 650_000, endpoint=False))).near_half[AT] == pytest.approx(0.2, abs=1e-6)
    assert spectrum(counted(np.random.default_rng(0).normal(size=1_000_000) * 40)).z < 3


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_weights_at_the_edges_of_their_cells_stand_out(bits):
    weights = gaussian(bits)
    moved = weights.copy()
    some = RANDOM.random(len(weights)) < 0.5
    moved[some] = np.round(weights[some]) + np.sign(RANDOM.normal(size=some.sum())) * 0.48
    assert spectrum(counted(moved)).z > 10
    other = spectrum(counted(moved * 1.37))  # another grid does not
    assert other.z < 10


def test_the_spectrum_is_the_plain_mean_over_the_weights():
    weights = gaussian(8)
    found = spectrum(counted(weights))
    assert found.harmonic[AT] == pytest.approx(np.cos(2 * np.pi * weights).mean(), abs=1e-3)
    assert found.near_half[AT] == pytest.approx((np.abs(weights % 1 - 0.5) <= 0.1).mean(), abs=1e-9)
    assert torch.tensor(found.z).isfinite() and found.n == len(weights)


def form(**sizes: int) -> Form:
    """One of layers of so many weights, at other phases each."""
    layers = {}
    for i, (name, size) in enumerate(sizes.items()):
        weight = torch.arange(size) % 7 + 0.1 + 0.35 * i
        one = torch.ones_like(weight)
        layers[name] = Rounded(weight=weight, level=weight.round(), step=one[:1], free=one > 0)
    return Form(label="w4a8", weight_bits=4, act_bits=8, model=nn.Identity(), layers=layers)


def test_layers_of_few_weights_are_looked_at_together_alone():
    found = _spectra(form(few=LEAST - 1, enough=LEAST))
    assert {name: of.n for name, of in found.items()} == {"": 2 * LEAST - 1, "enough": LEAST}
    assert found["enough"].near_half[AT] == pytest.approx(1)
    assert found[""].near_half[AT] == pytest.approx(LEAST / (2 * LEAST - 1))
    assert _spectra(form(alone=LEAST)).keys() == {""}


def test_the_grid_that_was_aimed_at_is_that_of_most_weights():
    def of(z: float, n: int) -> Spectrum:
        none = np.zeros(len(STEPS))
        return Spectrum(harmonic=none, near_half=none, z_harmonic=0.0, z_near_half=z, n=n)

    last_alone = {"": of(9.0, 5000), "a": of(1.0, 4000), "last": of(60.0, 1000)}
    every = {"": of(20.0, 5000), "a": of(8.0, 4000), "last": of(30.0, 1000)}
    assert Phases()._standing_out(last_alone) == (1000, 60.0)
    assert Phases()._standing_out(every) == (5000, 30.0)


def test_so_few_weights_that_none_could_stand_out_are_undecided():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    data = bp.from_arrays(np.random.default_rng(0).random((2, 1, 2, 2), np.float32), [0, 1])
    scheme = bp.Scheme(weight_bits=4, act_bits=32, first="same", last="same")
    found = Phases()(Case.of(model, data, data, schemes=(scheme,)), rng=bp.Rng.of(0))
    assert found.says == UNDECIDED and "only where 16 weights are rounded" in found.sentence
