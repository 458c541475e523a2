import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.optimize import minimize_scalar
from torch import nn

from bitproof.quant import Affine, Scheme, quantize
from bitproof.quant.aciq import gauss_clip, laplace_clip
from bitproof.quant.range_rules import ACT_RANGES, WEIGHT_RANGES
from bitproof.quant.ranges import Histogram, RangeSettings

PUBLISHED = {
    laplace_clip: [2.83, 3.90, 5.03, 6.20, 7.41, 8.65, 9.90],
    gauss_clip: [1.71, 2.15, 2.56, 2.94, 3.29, 3.62, 3.92],
}
DENSITIES = {"aciq-laplace": stats.laplace, "aciq-gauss": stats.norm}
CLIPS = {"aciq-laplace": laplace_clip, "aciq-gauss": gauss_clip}


def settings(bits: int, symmetric: bool = False) -> RangeSettings:
    return RangeSettings(bits=bits, symmetric=symmetric, percentile=99.9)


def histogram_of(values: torch.Tensor) -> Histogram:
    histogram = Histogram(values.min().item(), values.max().item())
    histogram.add(values)
    return histogram


@pytest.mark.parametrize("clip", PUBLISHED, ids=lambda clip: clip.__name__)
def test_the_published_constants(clip):
    np.testing.assert_allclose([clip(bits) for bits in range(2, 9)], PUBLISHED[clip], atol=0.0051)


@pytest.mark.parametrize("rule", DENSITIES)
@pytest.mark.parametrize("bits", range(2, 9))
def test_the_clip_minimises_the_error_integrated_from_the_density(rule, bits):
    def error(a: float) -> float:
        clipped, _ = integrate.quad(lambda x: 2 * (x - a) ** 2 * DENSITIES[rule].pdf(x), a, 40)
        return clipped + a**2 / (3 * 4**bits)

    found = minimize_scalar(error, bounds=(0.5, 15), method="bounded", options={"xatol": 1e-6}).x  # pyright: ignore
    np.testing.assert_allclose(CLIPS[rule](bits), found, atol=1e-3)


def test_laplace_clips_minimise_the_papers_formula():
    a = np.linspace(0.1, 15, 200_001)
    for bits in range(2, 9):
        found = a[np.argmin(2 * np.exp(-a) + a**2 / (3 * 4**bits))]
        np.testing.assert_allclose(laplace_clip(bits), found, atol=1e-4)


@pytest.mark.parametrize("bits", [2, 4])
def test_weights_by_hand(bits):
    rows = torch.tensor([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 101.0]] * 2) - torch.tensor([[11.0], [0.0]])
    low, high = WEIGHT_RANGES["aciq-laplace"](rows, settings(bits))  # mean 0 and 11, mean deviation 18
    np.testing.assert_allclose(low, [-10, 1])  # no lower than the smallest value
    np.testing.assert_allclose(high, [min(90, 18 * laplace_clip(bits)), min(101, 11 + 18 * laplace_clip(bits))])
    low, high = WEIGHT_RANGES["aciq-gauss"](rows, settings(bits))  # standard deviation 30
    np.testing.assert_allclose(high, [min(90, 30 * gauss_clip(bits)), min(101, 11 + 30 * gauss_clip(bits))], rtol=1e-6)


@pytest.mark.parametrize("rule", DENSITIES)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_streams_find_the_clip_of_the_distribution_they_come_from(rule, symmetric, relu):
    noise = DENSITIES[rule].rvs(size=400_000, random_state=0)
    values = torch.from_numpy(3 * noise.astype(np.float32))
    low, high = ACT_RANGES[rule](histogram_of(values.relu() if relu else values), settings(4, symmetric))
    bits = 5 if relu and not symmetric else 4
    np.testing.assert_allclose(high, 3 * CLIPS[rule](bits), rtol=0.02)
    np.testing.assert_allclose(low, 0 if relu else -high, rtol=0.02)


@pytest.mark.parametrize("rule", DENSITIES)
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_one_sided_streams_get_the_least_error_of_all_clips(rule, bits):
    x = np.maximum(DENSITIES[rule].rvs(size=100_000, random_state=1), 0)

    def error(a: float) -> float:
        step = a / (2**bits - 1)
        return float(np.mean((np.round(np.minimum(x, a) / step) * step - x) ** 2))

    _, high = ACT_RANGES[rule](histogram_of(torch.from_numpy(x)), settings(bits))
    assert error(high) < 1.15 * min(error(a) for a in np.linspace(0.5, 10, 300))  # the model has 2^M steps, not 2^M - 1


def test_statistics_of_all_values_of_a_rectified_stream_clip_too_much():
    """Where the authors take sigma of all values, the zeros among them: the error is 7 times ours."""
    x = np.maximum(np.random.default_rng(0).normal(size=100_000), 0)

    def error(a: float) -> float:
        return float(np.mean((np.round(np.minimum(x, a) * 15 / a) * a / 15 - x) ** 2))

    _, ours = ACT_RANGES["aciq-gauss"](histogram_of(torch.from_numpy(x)), settings(4))
    theirs = gauss_clip(5) * x.std()
    assert 0.55 < theirs / ours < 0.65 and error(theirs) > 5 * error(ours)


@pytest.mark.parametrize("rule", DENSITIES)
def test_a_range_scales_with_its_tensor(rule):
    rows = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    small, large = (WEIGHT_RANGES[rule](k * rows, settings(3)) for k in (1, 8))
    torch.testing.assert_close(large, tuple(8 * v for v in small))


@pytest.mark.parametrize("rule", DENSITIES)
def test_schemes_give_the_rules_their_bits(rule):
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Linear(20, 6)), torch.rand(500, 20)
    scheme = Scheme(
        Affine(weight_range=rule, act_range=rule, symmetric=False), weight_bits=3, act_bits=2, first="same", last="same"
    )
    quantized = quantize(model, scheme, [data])
    low, high = WEIGHT_RANGES[rule](model[0].weight.detach(), settings(3))
    torch.testing.assert_close(quantized[0].parametrizations.weight[0].scale.flatten(), (high - low) / 7)
    low, high = ACT_RANGES[rule](histogram_of(data), settings(2))
    np.testing.assert_allclose(quantized[0].input_quantizer.scale, (high - low) / 3, rtol=1e-5)
