import numpy as np
import pytest
import torch
from scipy.stats import chisquare, poisson

from bitproof.shifts import GaussianNoise, ImpulseNoise, ShotNoise, SpeckleNoise
from bitproof.shifts.noise import poisson as counted


def flat(value: float) -> torch.Tensor:
    return torch.full((8, 3, 64, 64), value)


def test_gaussian_noise_has_its_sigma(rng):
    for severity, sigma in enumerate((0.04, 0.06, 0.08, 0.09, 0.10), start=1):
        noise = GaussianNoise(severity=severity)(flat(0.5), rng=rng) - 0.5
        assert noise.std().item() == pytest.approx(sigma, rel=0.02)
        assert abs(noise.mean().item()) < 0.002


def test_speckle_noise_is_in_proportion(rng):
    for value in (0.2, 0.4):
        noise = SpeckleNoise(severity=5)(flat(value), rng=rng) - value
        assert noise.std().item() == pytest.approx(0.2 * value, rel=0.02)


def test_impulse_noise_hits_its_share_evenly(rng):
    result = ImpulseNoise(severity=5)(flat(0.3), rng=rng)
    for value, share in ((0.0, 0.035), (1.0, 0.035), (0.3, 0.93)):
        assert (result == value).float().mean().item() == pytest.approx(share, abs=0.003)


@pytest.mark.parametrize("level", [0, 1, 7, 128, 255])
@pytest.mark.parametrize("photons", [3, 60, 500])
def test_counts_follow_the_poisson_distribution(level, photons):
    bits = np.random.default_rng(0).integers(0, 2**32, 200_000, np.uint32)
    counts = counted(np.full(bits.size, level, np.uint8), bits, photons)
    mean = level / 255 * photons
    if mean == 0:
        assert (counts == 0).all()
        return
    edges = np.unique(poisson.ppf(np.linspace(0.02, 0.98, 12), mean))
    expected = np.diff(np.concatenate([[0], poisson.cdf(edges, mean), [1]])) * bits.size
    observed = np.bincount(np.searchsorted(edges, counts), minlength=len(expected))
    assert chisquare(observed[expected > 5], expected[expected > 5] * observed.sum() / expected.sum()).pvalue > 1e-4


def test_counts_invert_the_distribution_function_to_the_last_bit():
    """At the edge between k and k + 1 counts, one step of the 32 bits decides."""
    edge = int(poisson.cdf(2, 3.0) * 2**32)
    bits = np.array([0, edge - 1, edge, 2**32 - 1], np.uint32)
    counts = counted(np.full(4, 255, np.uint8), bits, 3)
    assert counts[:3].tolist() == [0, 2, 3]
    assert 12 < counts[3] <= 40  # poisson.isf(2**-32, 3) = 20


def test_shot_noise_between_grey_levels_keeps_mean_and_variance(rng):
    value = (100.5 / 255, 4)
    noisy = ShotNoise(severity=2)(flat(value[0]), rng=rng)
    assert noisy.mean().item() == pytest.approx(value[0], rel=0.003)
    assert noisy.var().item() == pytest.approx(value[0] / 250, rel=0.02)
