import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.errors import InputError
from bitproof.quant.range_rules import ACT_RANGES, WEIGHT_RANGES
from bitproof.quant.ranges import BINS, Histogram, RangeSettings


def keep(percentile: float) -> RangeSettings:
    return RangeSettings(bits=8, symmetric=False, percentile=percentile)


def stream(values: torch.Tensor, batch: int) -> Histogram:
    histogram = Histogram(values.min().item(), values.max().item())
    for i in range(0, len(values), batch):
        histogram.add(values[i : i + batch])
    return histogram


def test_weight_rules_by_row():
    rows = torch.stack([torch.arange(101.0), -torch.arange(101.0)])
    low, high = WEIGHT_RANGES["minmax"](rows, keep(99.9))
    assert (low.tolist(), high.tolist()) == ([0, -100], [100, 0])
    low, high = WEIGHT_RANGES["percentile"](rows, keep(90.0))
    np.testing.assert_allclose(low, [5, -95], rtol=1e-5)
    np.testing.assert_allclose(high, [95, -5], rtol=1e-5)


def test_percentile_of_weights_equals_numpys():
    rows = torch.randn(3, 500, generator=torch.Generator().manual_seed(0))
    low, high = WEIGHT_RANGES["percentile"](rows, keep(99.0))
    np.testing.assert_allclose(low, np.percentile(rows, 0.5, axis=1), rtol=1e-5)
    np.testing.assert_allclose(high, np.percentile(rows, 99.5, axis=1), rtol=1e-5)


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_percentile_of_a_stream_is_within_a_bin_and_ignores_the_batching(shift):
    values = torch.randn(20_000, generator=torch.Generator().manual_seed(0)) + shift
    width = (values.max() - values.min()).item() / BINS
    low, high = ACT_RANGES["percentile"](stream(values, 17), keep(99.0))
    if shift == 0:
        np.testing.assert_allclose([low, high], np.percentile(values, [0.5, 99.5]), atol=2 * width)
    else:  # no value below zero: the whole tail is cut above
        assert low == 0
        np.testing.assert_allclose(high, np.percentile(values, 99.0), atol=2 * width)
    assert ACT_RANGES["percentile"](stream(values, 20_000), keep(99.0)) == (low, high)


def test_minmax_of_a_stream_is_exact():
    values = torch.randn(1000)
    assert ACT_RANGES["minmax"](stream(values, 10), keep(99.9)) == (values.min().item(), values.max().item())


def test_a_constant_stream_has_its_constant_as_range():
    values = torch.full((100,), -2.5)
    assert ACT_RANGES["percentile"](stream(values, 10), keep(99.9)) == (-2.5, -2.5)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_mean_magnitude_of_a_stream_is_exact(batch):
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0)).relu() * 1e-3
    values[0] = -100.0  # one bin is wider than all the others are high
    assert stream(values, batch).mean_abs() == pytest.approx(values.double().abs().mean().item(), rel=1e-12)
    assert stream(torch.full((5,), -2.5), batch).mean_abs() == 2.5
    assert Histogram(0.0, 0.0).mean_abs() == 0


def test_moments_of_a_stream_by_hand_and_by_numpy():
    values = torch.tensor([-4.0, 0.0, 0.0, 4.0])
    histogram = stream(values, 2)
    width = 8 / BINS
    np.testing.assert_allclose(histogram.mean(), 0, atol=width / 2)
    np.testing.assert_allclose(histogram.std(), 8**0.5, atol=width)
    np.testing.assert_allclose(histogram.mean_abs_deviation(), 2, atol=width)
    values = torch.randn(5000, generator=torch.Generator().manual_seed(0)).exp()
    histogram, width = stream(values, 77), float(values.max() - values.min()) / BINS
    np.testing.assert_allclose(histogram.mean(), values.mean(), atol=width / 2)
    np.testing.assert_allclose(histogram.std(), values.std(correction=0), atol=width)
    np.testing.assert_allclose(histogram.mean_abs_deviation(), (values - values.mean()).abs().mean(), atol=width)


def test_bins_stand_for_their_midpoints():
    histogram = Histogram(0.0, float(BINS))
    histogram.add(torch.arange(BINS) + 0.5)
    assert (histogram.mean(), histogram.mean_abs_deviation()) == (BINS / 2, BINS / 4)


def test_moments_of_a_constant_stream():
    histogram = stream(torch.full((3,), 2.5), 1)
    assert (histogram.mean(), histogram.std(), histogram.mean_abs_deviation()) == (2.5, 0, 0)


@pytest.mark.parametrize("rule", ACT_RANGES)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("values", [[0.0, 0.0], [3.0, 3.0, 3.0], [-2.0], [1e-40, 0.0], [-1.0, 0.0, 0.0, 9.0]])
def test_every_rule_stays_finite_and_inside_the_extremes(rule, symmetric, values):
    x = torch.tensor(values)
    settings = RangeSettings(bits=4, symmetric=symmetric, percentile=99.9)
    found = [ACT_RANGES[rule](stream(x, 2), settings)]
    if rule in WEIGHT_RANGES:
        found.append(tuple(v.item() for v in WEIGHT_RANGES[rule](x[None], settings)))
    for low, high in found:
        assert min(x.min().item(), 0) * (1 + 1e-6) <= low <= high <= max(x.max().item(), 0) * (1 + 1e-6)


def test_the_moving_average_weighs_each_image_by_its_age():
    images = torch.tensor([[-1.0, 2.0], [-3.0, 4.0], [0.0, 12.0]])
    expected = (-(0.99**2) - 0.99 * 0.01 * 3, 0.99**2 * 2 + 0.99 * 0.01 * 4 + 0.01 * 12)
    for batches in (images.split(1), images.split(2), [images]):
        histogram = Histogram(-3, 12)
        for batch in batches:
            histogram.add(batch)
        assert ACT_RANGES["moving-average"](histogram, keep(99.9)) == pytest.approx(expected)
    lone = bp.Scheme(
        bp.quant.Affine(act_range="moving-average"),
    )
    scaled = nn.BatchNorm2d(2, affine=False, eps=0)  # from [0, 1] to those values
    scaled.running_mean.fill_(3 / 15), scaled.running_var.fill_(1 / 15**2)
    network = nn.Sequential(scaled, nn.Flatten(), nn.Linear(2, 3)).eval()
    model = bp.quantize(network, lone, [(images[:, :, None, None] + 3) / 15])
    assert model[2].input_quantizer.scale.item() == pytest.approx((expected[1] - expected[0]) / 255)
    with pytest.raises(InputError, match="weight_range"):
        bp.Scheme(
            bp.quant.Affine(weight_range="moving-average"),
        )
