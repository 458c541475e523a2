import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitproof.quant.ternary import TTQWeights, TWNWeights

T = torch.tensor
VALUES = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=30)


def test_twn_by_hand():
    w = T([[-4.0, -1.0, 0.0], [1.0, 2.0, 4.0]], requires_grad=True)  # mean|w| = 2, Delta = 1.4
    y = TWNWeights()(w)
    torch.testing.assert_close(y.detach(), T([[-10 / 3, 0, 0], [0, 10 / 3, 10 / 3]]))
    (y * T([[1.0, 2, 3], [4, 5, 6]])).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_twn_threshold_is_seven_tenths_of_the_mean():
    assert TWNWeights()(T([6.9, 10.0, 10.0, 13.1]))[0] == 0
    assert TWNWeights()(T([7.1, 10.0, 10.0, 12.9]))[0] == 10


def test_twn_scale_is_the_best_for_its_support():
    w = torch.randn(500, generator=torch.Generator().manual_seed(0))
    y = TWNWeights()(w)
    codes = y.sign()
    torch.testing.assert_close(y.max(), (w * codes).sum() / codes.abs().sum())  # the least-squares scale
    assert all((y - w).square().sum() < (f * y - w).square().sum() for f in (0.9, 1.1))


def test_ttq_by_hand():
    w = T([-4.0, -2.0, -0.2, 0.2, 0.3, 1.0], requires_grad=True)  # Delta = 0.2, and 0.2 is not above it
    quantizer = TTQWeights(w)
    assert (quantizer.positive.item(), quantizer.negative.item()) == (pytest.approx(0.65), 3)
    with torch.no_grad():
        quantizer.positive.fill_(0.5)
    y = quantizer(w)
    assert y.tolist() == [-3, -3, 0, 0, 0.5, 0.5]
    (y * T([1.0, 2, 3, 4, 5, 6])).sum().backward()
    assert w.grad is not None
    assert quantizer.positive.grad is not None
    assert quantizer.negative.grad is not None
    assert w.grad.tolist() == [3, 6, 3, 4, 2.5, 3]
    assert quantizer.positive.grad.item() == 5 + 6
    assert quantizer.negative.grad.item() == -(1 + 2)


def test_ttq_scale_gradients_are_those_of_autograd():
    w = torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outer = torch.randn(200, dtype=torch.float64)
    quantizer = TTQWeights(w)
    ours = torch.autograd.grad((quantizer(w) * outer).sum(), (quantizer.positive, quantizer.negative))
    threshold = 0.05 * w.abs().max()
    scales = [quantizer.positive.detach().requires_grad_(), quantizer.negative.detach().requires_grad_()]
    y = torch.where(w > threshold, scales[0], torch.where(w < -threshold, -scales[1], torch.zeros(())))
    torch.testing.assert_close(y, quantizer(w))
    for a, b in zip(ours, torch.autograd.grad((y * outer).sum(), scales), strict=True):
        torch.testing.assert_close(a, b)


def test_training_ttq_scales_finds_the_means():
    """Least squares over the scales alone has the group means as its answer; a wrong sign would run away."""
    w = torch.randn(300, generator=torch.Generator().manual_seed(0)) - 0.5
    quantizer = TTQWeights(w)
    means = quantizer.positive.item(), quantizer.negative.item()
    with torch.no_grad():
        quantizer.positive.fill_(1.0)
        quantizer.negative.fill_(0.1)
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=2e-3)
    for _ in range(100):
        optimizer.zero_grad()
        (quantizer(w) - w).square().sum().backward()
        optimizer.step()
    assert (quantizer.positive.item(), quantizer.negative.item()) == pytest.approx(means, rel=1e-3)


@settings(max_examples=150, deadline=None)
@given(values=VALUES, power=st.integers(-6, 6))
def test_properties(values, power):
    w = T(values, dtype=torch.float32)
    w = torch.where(w.abs() < 1e-20, torch.zeros_like(w), w)
    for build in (lambda _: TWNWeights(), TTQWeights):
        y = build(w)(w)
        assert torch.isfinite(y).all()
        assert len(y.unique()) <= 3
        assert (y[w.argsort()].diff() >= 0).all()
        assert torch.equal(build(-w)(-w), -y)
        torch.testing.assert_close(build(w * 2.0**power)(w * 2.0**power), y * 2.0**power)
    torch.testing.assert_close(TWNWeights()(TWNWeights()(w)), TWNWeights()(w))


@pytest.mark.parametrize("values", [[0.0, 0.0], [3.0, 3.0], [-2.0]])
def test_degenerate_weights(values):
    w = T(values, requires_grad=True)
    for quantizer in (TWNWeights(), TTQWeights(w)):
        y = quantizer(w)
        torch.testing.assert_close(y, w)
        y.sum().backward()
        assert w.grad is not None
        assert torch.isfinite(w.grad).all()
