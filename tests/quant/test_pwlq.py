import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq, curve_fit
from torch import nn

from bitproof.quant import PWLQ, Scheme, quantize
from bitproof.quant.codes import Codes
from bitproof.quant.grid import affine_grid, fake_quantize
from bitproof.quant.pwlq import PwlqWeights, gauss_breakpoint, laplace_breakpoint, piecewise, top_range
from bitproof.quant.ranges import Histogram

T = torch.tensor


def numpy_piecewise(w: np.ndarray, p: float, bits: int, overlapping: bool) -> np.ndarray:
    """By the nearest level of the piece that holds the weight."""
    m, top = np.abs(w).max(), 2 ** (bits - 1) - 1
    middle = np.linspace(-p, p, 2 * top + 1)
    tail = np.linspace(-m, m, 2 * top + 1) if overlapping else np.linspace(p, m, top + 1)
    tail = tail if overlapping else np.concatenate([-tail, tail])

    def nearest(x: float) -> float:
        levels = middle if abs(x) < p else tail
        return levels[np.abs(levels - x).argmin()]

    return np.array([nearest(x) for x in w])


@pytest.mark.parametrize(
    ("overlapping", "expected"),
    [
        # 3 bits, p = 3, m = 9. Middle -3 -2 ... 3; tails 3 5 7 9
        (False, [0, 1, -2, 3, 5, -7, 9]),
        # tails from -9 -6 -3 0 3 6 9
        (True, [0, 1, -2, 3, 6, -6, 9]),
    ],
)
def test_by_hand(overlapping, expected):
    rows = T([[0.2, 1.3, -2.4, 2.9, 5.2, -7.3, 9.0]])
    y = piecewise(rows, T([[3.0]]), T([[9.0]]), bits=3, overlapping=overlapping)
    assert y.tolist() == [expected]


@pytest.mark.parametrize("overlapping", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_search_finds_the_least_error_of_a_brute_force_search(bits, overlapping):
    weight = torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(0)).double() ** 3
    ours = PwlqWeights(weight, bits=bits, breakpoint="search", overlapping=overlapping, by_channel=True)
    for row, p in zip(weight.flatten(1).numpy(), ours.breakpoint.flatten().tolist(), strict=True):
        m = np.abs(row).max()

        def error(at, row=row):
            return ((numpy_piecewise(row, at, bits, overlapping) - row) ** 2).sum()

        best = min(np.arange(1, 100) / 100, key=lambda share: error(share * m))
        nearby = best + np.arange(-9, 10) / 1000
        np.testing.assert_allclose(error(p), min(error(share * m) for share in nearby), rtol=1e-9)
        assert error(p) <= error(best * m)


@pytest.mark.parametrize(("overlapping", "most"), [(False, 0.985), (True, 0.99)])
def test_the_search_goes_on_between_the_hundredths(overlapping, most):
    """At 8 bits hundredths alone have 2% more squared error on these weights."""
    weight = torch.randn(16, 256, generator=torch.Generator().manual_seed(0))
    ours = PwlqWeights(weight, bits=8, breakpoint="search", overlapping=overlapping, by_channel=True)
    m = ours.largest

    def error(at: torch.Tensor) -> torch.Tensor:
        return (piecewise(weight, at, m, bits=8, overlapping=overlapping) - weight).square().sum(1)

    coarse = torch.stack([error(share * m) for share in np.arange(1, 100) / 100]).amin(0)
    assert error(ours.breakpoint).sum() < most * coarse.sum()


@pytest.mark.parametrize(
    ("approximate", "density", "curve", "constants"),
    [
        (gauss_breakpoint, stats.norm, lambda m, a, b: np.log(a * m + b), (0.86143114, 0.60790110)),
        (laplace_breakpoint, stats.laplace(scale=0.5**0.5), lambda m, a, b: a * m**0.5 + b, (0.80304483, -0.31667855)),
    ],
    ids=["gauss", "laplace"],
)
def test_the_approximations_are_fits_to_solutions_of_the_papers_equation(approximate, density, curve, constants):
    def slope(p: float, m: float) -> float:
        return p - 2 * m + 2 * m * density.cdf(p) + m * density.pdf(p) * (2 * p - m)

    m = np.linspace(2, 10, 200)
    exact = np.array([brentq(slope, 1e-6, v / 2, args=(v,)) for v in m])
    again, _ = curve_fit(curve, m, exact, p0=(0.5, 0.5))
    np.testing.assert_allclose(again, constants, atol=0.05)
    np.testing.assert_allclose(approximate(torch.from_numpy(m)), exact, atol=0.04)


@pytest.mark.parametrize(("density", "m"), [(stats.norm, 4.0), (stats.norm, 8.0), (stats.laplace(scale=0.5**0.5), 6.0)])
def test_the_papers_equation_is_the_minimum_of_the_expected_error(density, m):
    p = np.linspace(0.01, 0.99, 9801) * m
    error = (2 * density.cdf(p) - 1) * p**2 + 2 * (density.cdf(m) - density.cdf(p)) * (m - p) ** 2
    best = p[error.argmin()]
    approximate = gauss_breakpoint if density is stats.norm else laplace_breakpoint
    np.testing.assert_allclose(approximate(torch.tensor(m)), best, atol=0.02)


@pytest.mark.parametrize("rule", ["gauss", "laplace"])
def test_approximate_breakpoints_are_in_units_of_sigma(rule):
    weight = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
    ours = PwlqWeights(weight, bits=4, breakpoint=rule, overlapping=False, by_channel=True)
    rows = weight.double().numpy()
    ratio = np.abs(rows).max(1) / rows.std(1)
    expected = np.log(0.86143114 * ratio + 0.6079011) if rule == "gauss" else 0.80304483 * ratio**0.5 - 0.31667855
    np.testing.assert_allclose(ours.breakpoint.flatten(), expected * rows.std(1), rtol=1e-5)


@pytest.mark.parametrize("by_channel", [True, False])
@pytest.mark.parametrize("rule", ["search", "gauss", "laplace"])
def test_bias_correction_restores_mean_and_spread(rule, by_channel):
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0)) + 0.3
    q = PwlqWeights(weight, bits=2, breakpoint=rule, overlapping=False, by_channel=by_channel)(weight)
    rows, ours = (v.flatten(1) if by_channel else v.reshape(1, -1) for v in (weight, q))
    gain = ours.std(1) / rows.std(1)
    torch.testing.assert_close(gain, torch.ones_like(gain))
    module = PwlqWeights(weight, bits=2, breakpoint=rule, overlapping=False, by_channel=by_channel)
    torch.testing.assert_close(ours.mean(1), rows.mean(1) * module.gain.flatten())  # (q + shift) gain scales the mean


def test_the_gradient_passes_unchanged_and_values_stay_exact():
    weight = torch.randn(4, 30, generator=torch.Generator().manual_seed(0), requires_grad=True)
    module = PwlqWeights(weight, bits=3, breakpoint="search", overlapping=False, by_channel=True)
    y = module(weight)
    y.backward(torch.arange(120.0).view(4, 30))
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.arange(120.0).view(4, 30))
    assert all(len(row.unique()) <= 2**4 - 3 for row in y.detach())


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40),
    bits=st.integers(2, 5),
    share=st.floats(0.05, 0.95),
    overlapping=st.booleans(),
)
def test_properties_of_every_piecewise_grid(values, bits, share, overlapping):
    rows = torch.tensor([values], dtype=torch.float64)
    m = rows.abs().amax(1, keepdim=True)
    m = torch.where(m > 1e-6, m, torch.zeros_like(m))
    rows = rows.clamp(-m, m)
    p = share * m

    def rounded(x: torch.Tensor) -> torch.Tensor:
        return piecewise(x, p, m, bits=bits, overlapping=overlapping)

    y = rounded(rows)
    scale = max(m.item(), 1.0)
    assert len(np.unique(np.round(y.numpy() / scale, 9))) <= 2 ** (bits + 1) - 3
    assert torch.equal(rounded(-rows), -y)
    torch.testing.assert_close(piecewise(8 * rows, 8 * p, 8 * m, bits=bits, overlapping=overlapping), 8 * y)
    assert (y.abs() <= m * (1 + 1e-9)).all()
    if not overlapping:
        torch.testing.assert_close(rounded(y), y, atol=1e-9, rtol=1e-9)
        assert (y[0][rows[0].argsort()].diff() >= -1e-9 * scale).all()
        step = torch.where(rows.abs() < p, p, m - p) / (2 ** (bits - 1) - 1)
        assert ((y - rows).abs() <= step / 2 + 1e-9 * scale).all()


@pytest.mark.parametrize("rule", ["search", "gauss", "laplace"])
@pytest.mark.parametrize("values", [[[0.0, 0.0]], [[3.0, 3.0], [0.0, 0.0]], [[-2.0]], [[1.0, -1.0]], [[1e-40, 0.0]]])
def test_degenerate_weights_stay_as_they_are(rule, values):
    weight = T(values)
    for by_channel in (True, False):
        y = PwlqWeights(weight, bits=4, breakpoint=rule, overlapping=False, by_channel=by_channel)(weight)
        np.testing.assert_allclose(y, weight, rtol=1e-6, atol=1e-39)


def test_long_tails_cost_less_than_on_a_uniform_grid_of_a_bit_more():
    torch.manual_seed(0)
    weight = torch.distributions.Laplace(0.0, 1.0).sample((1, 20_000))
    y = PwlqWeights(weight, bits=3, breakpoint="search", overlapping=False, by_channel=False)(weight)
    scale, zero_point = affine_grid(
        -weight.abs().max(), weight.abs().max(), Codes.of(4, symmetric=True), symmetric=True
    )
    uniform = fake_quantize(weight, scale, zero_point, Codes.of(4, symmetric=True))
    assert (y - weight).square().mean() < 0.7 * (uniform - weight).square().mean()


@pytest.mark.parametrize("count", [11, 1000])
def test_the_range_of_a_stream_is_the_median_of_its_top_ten(count):
    values = torch.randn(count, generator=torch.Generator().manual_seed(0))
    ordered = values.sort().values

    def of(values: torch.Tensor) -> tuple[float, float]:
        histogram = Histogram(values.min().item(), values.max().item())
        histogram.add(values)
        return top_range(histogram)

    width = (ordered[-1] - ordered[0]).item() / 8192
    expected = ordered[:10].median().item(), ordered[-10:].median().item()
    np.testing.assert_allclose(of(values), expected, atol=1.01 * width)
    low, high = of(values - ordered[0])
    assert low == 0
    np.testing.assert_allclose(high, expected[1] - ordered[0].item(), atol=1.01 * width)
    assert of(torch.full((3,), -1.5)) == (-1.5, -1.5)


@pytest.mark.parametrize(
    ("breakpoint", "overlapping"), [("search", False), ("gauss", False), ("laplace", False), ("search", True)]
)
@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_schemes_reach_the_quantizer(breakpoint, overlapping, granularity):
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Linear(20, 6)), torch.rand(50, 20)
    method = PWLQ(breakpoint=breakpoint, overlapping=overlapping, granularity=granularity)
    scheme = Scheme(method, weight_bits=3, act_bits=4, first="same", last="same")
    quantized = quantize(model, scheme, [data])
    weight = model[0].weight.detach()
    expected = PwlqWeights(
        weight, bits=3, breakpoint=breakpoint, overlapping=overlapping, by_channel=granularity == "channel"
    )
    assert torch.equal(quantized[0].weight, expected(weight))
    ordered = data.flatten().sort().values
    width = ordered[-10:].median().item()  # from 0, which is on every grid
    np.testing.assert_allclose(quantized[0].input_quantizer.scale, width / 15, rtol=0.001)
