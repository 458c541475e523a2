import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitproof.quant import LSQPlus
from bitproof.quant.codes import Codes
from bitproof.quant.lsq_plus import LSQPlusActivations, least_squares_range
from bitproof.quant.ranges import Histogram

T = torch.tensor


def observed(values: torch.Tensor, bits: int) -> LSQPlusActivations:
    histogram = Histogram(values.min().item(), values.max().item())
    histogram.add(values)
    quantizer = LSQPlus().inputs(bits, histogram)
    assert isinstance(quantizer, LSQPlusActivations)
    return quantizer


def test_values_and_gradients_by_hand():
    quantizer = LSQPlusActivations(bits=2)  # levels -0.5, 0, 0.5, 1
    with torch.no_grad():
        quantizer.step.fill_(0.5)
        quantizer.offset.fill_(-0.5)
    x = T([[-2.0, -0.4, 0.3, 5.0]], requires_grad=True)  # (x - beta) / s: -3, 0.2, 1.6, 11
    y = quantizer(x)
    assert y.tolist() == [[-0.5, -0.5, 0.5, 1.0]]
    y.sum().backward()
    assert x.grad is not None
    assert quantizer.step.grad is not None
    assert quantizer.offset.grad is not None
    assert x.grad.tolist() == [[0, 1, 1, 0]]
    g = 1 / math.sqrt(4 * 3)
    assert quantizer.step.grad.item() == pytest.approx(g * (0 + (0 - 0.2) + (2 - 1.6) + 3), rel=1e-5)
    assert quantizer.offset.grad.item() == pytest.approx(g * 2)  # two values outside


def test_weights_start_at_three_sigma():
    weight = torch.randn(4, 9, generator=torch.Generator().manual_seed(0)) + T([[0.0], [1.0], [-1.0], [5.0]])
    mean, sigma = weight.mean(1, keepdim=True), weight.std(1, keepdim=True, correction=0)
    expected = torch.maximum((mean - 3 * sigma).abs(), (mean + 3 * sigma).abs()) / 8
    quantizer = LSQPlus().weights(weight, 4)
    torch.testing.assert_close(quantizer.step.detach(), expected)  # pyright: ignore
    assert LSQPlus().weights(torch.zeros(2, 3), 4)(torch.zeros(2, 3)).any() == 0


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("shape", ["normal", "silu", "relu"])
def test_activations_start_near_the_least_error(bits, shape):
    normal = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    x = {"normal": normal + 1, "silu": torch.nn.functional.silu(2 * normal), "relu": normal.relu()}[shape]
    quantizer = observed(x, bits)
    error = (quantizer(x[None]) - x).square().mean().item()
    naive = LSQPlusActivations(bits)
    best = math.inf
    for low in torch.linspace(x.min().item(), x.median().item(), 60):  # an independent search over s and beta
        for step in torch.linspace(0.01, (x.max() - low).item() / (2**bits - 1), 60):
            codes = ((x - low) / step).round().clamp(0, 2**bits - 1)
            best = min(best, (codes * step + low - x).square().mean().item())
    assert error < 1.05 * best
    with torch.no_grad():
        naive.step.fill_((x.max() - x.min()).item() / (2**bits - 1))
        naive.offset.fill_(x.min())
    assert error < 0.9 * (naive(x[None]) - x).square().mean().item()


def test_a_stream_on_the_grid_keeps_its_range():
    x = T([-1.0, 0.0, 1.0, 2.0]).repeat(50)
    histogram = Histogram(-1.0, 2.0)
    histogram.add(x)
    low, high = least_squares_range(histogram, Codes(qmin=0, qmax=3))
    assert (low, high) == pytest.approx((-1, 2), abs=0.01)


def test_values_below_zero_have_levels():
    x = torch.nn.functional.silu(torch.linspace(-3, 1, 500))
    assert (observed(x, 4)(x[None]).unique() < 0).sum() >= 3


@pytest.mark.parametrize("value", [0.0, -2.5, 3.0])
def test_a_constant_stream_is_exact(value):
    x = torch.full((1, 5), value)
    assert torch.equal(observed(x, 2)(x), x)


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30),
    bits=st.integers(2, 8),
    step=st.floats(0.0625, 4, width=32),
    offset=st.integers(-8, 8),
)
def test_properties(values, bits, step, offset):
    quantizer = LSQPlusActivations(bits)
    with torch.no_grad():
        quantizer.step.fill_(step)
        quantizer.offset.fill_(offset)
    x = T([values], dtype=torch.float32)
    y = quantizer(x)
    torch.testing.assert_close(quantizer(y), y)
    assert len(y.unique()) <= 2**bits
    assert (y[0, x[0].argsort()].diff() >= 0).all()
    assert y.min() >= offset
