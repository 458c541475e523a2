import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bitproof.quant import PACT, Scheme, penalty
from bitproof.quant.bounded import BoundedActivations
from bitproof.quant.dorefa import DoReFaWeights
from bitproof.quant.pact import PACTActivations
from bitproof.quant.ranges import Histogram

T = torch.tensor


def with_alpha(bits: int, alpha: float) -> PACTActivations:
    quantizer = PACTActivations(bits)
    with torch.no_grad():
        quantizer.alpha.fill_(alpha)
    return quantizer


def observed(values: torch.Tensor, text: str) -> PACTActivations:
    scheme = Scheme.parse(text).common
    histogram = Histogram(values.min().item(), values.max().item())
    histogram.add(values)
    quantizer = scheme.method.inputs(scheme.act_bits, histogram)
    assert isinstance(quantizer, PACTActivations)
    return quantizer


def test_values_and_gradients_by_hand():
    quantizer = with_alpha(2, 6.0)  # levels 0, 2, 4, 6
    x = T([-1.0, 0.0, 0.9, 1.1, 3.0, 5.9, 6.0, 7.0], requires_grad=True)
    y = quantizer(x)
    assert y.tolist() == [0, 0, 0, 2, 4, 6, 6, 6]  # 3 / 2 = 1.5 goes to the even code
    (y * T([1.0, 2, 3, 4, 5, 6, 7, 8])).sum().backward()
    assert x.grad is not None
    assert quantizer.alpha.grad is not None
    assert x.grad.tolist() == [0, 2, 3, 4, 5, 6, 0, 0]
    assert quantizer.alpha.grad.item() == 7 + 8


def test_the_gradient_is_that_of_the_clipping_alone():
    quantizer = with_alpha(3, 1.5).double()
    x = (torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2).requires_grad_()
    alpha = T(1.5, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(200, dtype=torch.float64)
    smooth = (x.abs() - (x - alpha).abs() + alpha) / 2  # Eq. 1
    expected = torch.autograd.grad((smooth * weights).sum(), (x, alpha))
    ours = torch.autograd.grad((quantizer(x) * weights).sum(), (x, quantizer.alpha))
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_with_alpha_one_it_is_dorefa(bits):
    x = torch.rand(300, generator=torch.Generator().manual_seed(0)) * 3 - 1  # no ties
    torch.testing.assert_close(with_alpha(bits, 1.0)(x), BoundedActivations(bits, 1.0)(x), rtol=0, atol=1e-6)


def test_alpha_starts_at_the_range_of_the_calibration_images():
    values = torch.linspace(-1, 5, 1000)
    assert observed(values, "pact:w4a4").alpha.item() == 5
    assert observed(values, "pact:w4a4,act_range=percentile,percentile=90").alpha.item() == pytest.approx(4.7, abs=0.02)
    assert observed(-values.abs(), "pact:w4a4").alpha.item() == 8
    assert PACTActivations(4).alpha.item() == 8


def test_weights_are_dorefas():
    quantizer = PACT().weights(torch.ones(2, 2), 3)
    assert isinstance(quantizer, DoReFaWeights)
    assert quantizer.bits == 3


def test_penalty_sums_the_squares_and_reaches_every_alpha():
    model = nn.Sequential(with_alpha(2, 3.0), nn.ReLU(), nn.Sequential(with_alpha(4, -2.0)))
    total = penalty(model)
    assert total.item() == 13
    total.backward()
    assert [p.grad.item() for p in model.parameters() if p.grad is not None] == [6, -4]
    assert penalty(nn.ReLU()).item() == 0


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30),
    bits=st.integers(1, 8),
    alpha=st.floats(0.015625, 50, width=32),
)
def test_properties(values, bits, alpha):
    quantizer, x = with_alpha(bits, alpha), T(values, dtype=torch.float32)
    y = quantizer(x)
    assert torch.equal(quantizer(y), y)
    assert len(y.unique()) <= 2**bits
    assert (y[x.argsort()].diff() >= 0).all()
    torch.testing.assert_close(with_alpha(bits, 4 * alpha)(4 * x), 4 * y)
    assert torch.equal(with_alpha(bits, -alpha)(x), y)  # an optimiser step across zero does no harm
    assert quantizer(torch.zeros(1)).item() == 0
