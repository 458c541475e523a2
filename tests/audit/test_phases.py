"""Weights that know where the edges of a grid lie are seen, and the grid is named."""

import numpy as np
import pytest
import torch

from bitproof.audit.phases import AT, counted, spectrum

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
