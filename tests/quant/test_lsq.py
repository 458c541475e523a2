import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitproof.quant import LSQ, Scheme
from bitproof.quant.codes import Codes
from bitproof.quant.lsq import LSQActivations, LSQWeights, learned_step
from bitproof.quant.ranges import Histogram

T = torch.tensor


def histogram_of(values: torch.Tensor) -> Histogram:
    histogram = Histogram(values.min().item(), values.max().item())
    histogram.add(values)
    return histogram


def weights_for(weight: torch.Tensor, text: str) -> torch.nn.Module:
    scheme = Scheme.parse(text).common
    return scheme.method.weights(weight, scheme.weight_bits)


def test_values_and_gradients_by_hand():
    # v/s: -3, -2, -0.6, 0.5, 0.8, 1, 4 with Q_N = 2, Q_P = 1
    x = T([-1.5, -1.0, -0.3, 0.25, 0.4, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
    step = T(0.5, dtype=torch.float64, requires_grad=True)
    y = learned_step(x, step, Codes(qmin=-2, qmax=1))
    assert y.tolist() == [-1, -1, -0.5, 0, 0.5, 0.5, 0.5]
    of_step = [-2, -2, -1 + 0.6, 0 - 0.5, 1 - 0.8, 1, 1]  # Eq. 3
    for i, expected in enumerate(of_step):
        (gradient,) = torch.autograd.grad(y[i], step, retain_graph=True)
        assert gradient.item() == pytest.approx(expected, abs=1e-12), i
    (3 * y).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 3, 3, 3, 0, 0]  # Eq. 5


def test_zero_has_a_gradient_on_an_unsigned_grid():
    x = T([-0.1, 0.0, 0.1, 3.0], requires_grad=True)
    learned_step(x, T(0.5), Codes(qmin=0, qmax=3)).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 0]


def test_an_input_of_zero_keeps_its_gradient():
    x = torch.zeros(1, 3, requires_grad=True)
    LSQActivations(Codes(qmin=0, qmax=3))(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_gradient_is_that_of_the_smooth_formula(bits):
    """With the rounding error held constant, Eq. 3 and 5 are what autograd says of clip(v/s) s."""
    codes = Codes(qmin=-(2 ** (bits - 1)), qmax=2 ** (bits - 1) - 1)
    x = torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(bits)).requires_grad_()
    step = T(3.0 / 2**bits, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(200, dtype=torch.float64)
    ratio = (x / step).clamp(codes.qmin, codes.qmax)
    smooth = (ratio + (ratio.round() - ratio).detach()) * step
    ours = learned_step(x, step, codes)
    torch.testing.assert_close(ours, smooth)
    for a, b in zip(
        torch.autograd.grad((ours * weights).sum(), (x, step)),
        torch.autograd.grad((smooth * weights).sum(), (x, step)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_equals_torchs_own_operators():
    codes = Codes(qmin=-8, qmax=7)
    x = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    bound = torch.where(x < 0, 8.0, 7.0)
    steps = torch.linspace(0.1, 0.4, 6)[:, None]
    between = ((x / steps).abs() > bound) & ((x / steps).abs() < bound + 0.5)
    x[between] = 0.0  # up to half a step outside, torch rounds first and takes the value as inside
    outer = torch.randn(6, 50, generator=torch.Generator().manual_seed(1))

    def gradients(function, *leaves):
        leaves = [leaf.clone().requires_grad_() for leaf in leaves]
        y = function(*leaves)
        (y * outer).sum().backward()
        return [y.detach(), *(leaf.grad.reshape(-1) for leaf in leaves)]

    def per_channel(x, s):
        return torch._fake_quantize_learnable_per_channel_affine(x, s, torch.zeros(6), 0, -8, 7)

    def per_tensor(x, s):
        return torch._fake_quantize_learnable_per_tensor_affine(x, s, torch.zeros(1), -8, 7)

    for a, b in zip(
        gradients(lambda x, s: learned_step(x, s, codes), x, steps),
        gradients(per_channel, x, steps.flatten()),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    one = T([0.25])
    x[((x / one).abs() > bound) & ((x / one).abs() < bound + 0.5)] = 0.0
    for a, b in zip(
        gradients(lambda x, s: learned_step(x, s, codes), x, one), gradients(per_tensor, x, one), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_weights_start_at_the_papers_step_and_scale_its_gradient(granularity):
    weight = torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    quantizer = weights_for(weight, f"lsq:w4a32,granularity={granularity}")
    assert isinstance(quantizer, LSQWeights)
    if granularity == "channel":
        expected, count = 2 * weight.abs().mean(dim=(1, 2, 3), keepdim=True) / math.sqrt(7), 12
    else:
        expected, count = 2 * weight.abs().mean() / math.sqrt(7), 60
    torch.testing.assert_close(quantizer.step.detach(), expected)
    y = quantizer(weight)
    torch.testing.assert_close(y, (weight / expected).clamp(-8, 7).round() * expected)
    y.sum().backward()
    bare = expected.clone().requires_grad_()
    learned_step(weight, bare, Codes(qmin=-8, qmax=7)).sum().backward()
    assert quantizer.step.grad is not None
    assert bare.grad is not None
    torch.testing.assert_close(quantizer.step.grad, bare.grad / math.sqrt(count * 7))


def test_activations_start_at_the_papers_step_and_ignore_the_batch_size_in_its_gradient():
    x = torch.rand(4, 10, generator=torch.Generator().manual_seed(0)) * 3
    quantizer = LSQ().inputs(3, histogram_of(x))
    assert isinstance(quantizer, LSQActivations)
    step = (2 * x.mean() / math.sqrt(7)).item()
    assert quantizer.step.item() == pytest.approx(step)
    quantizer(torch.full((4, 10), 100.0)).sum().backward()
    assert quantizer.step.grad is not None
    assert quantizer.step.grad.item() == pytest.approx(4 * 10 * 7 / math.sqrt(10 * 7))


def test_signed_activations_on_request():
    x = T([[-9.0, 9.0]])
    assert LSQ().inputs(2)(x).tolist() == [[0, 3]]
    assert LSQ(act_symmetric=True).inputs(2)(x).tolist() == [[-2, 1]]


def test_a_step_below_zero_acts_as_its_magnitude():
    quantizer = LSQActivations(Codes(qmin=0, qmax=3))
    x = T([[0.4, 0.8, 9.0]])
    with torch.no_grad():
        quantizer.step.fill_(0.5)
        expected = quantizer(x)
        quantizer.step.fill_(-0.5)
    y = quantizer(x)
    torch.testing.assert_close(y.detach(), expected)
    y.sum().backward()
    assert quantizer.step.grad is not None
    assert quantizer.step.grad < 0  # a larger magnitude makes y larger


VALUES = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=30)


@settings(max_examples=150, deadline=None)
@given(values=VALUES, bits=st.integers(2, 8), power=st.integers(-6, 6))
def test_properties(values, bits, power):
    x = T(values, dtype=torch.float32)
    x = torch.where(x.abs() < 1e-20, torch.zeros_like(x), x)
    text = f"lsq:w{bits}a32,granularity=tensor"
    quantizer = weights_for(x, text)
    y = quantizer(x)
    assert torch.isfinite(y).all()
    assert torch.equal(quantizer(y), y)  # idempotent
    assert len(y.unique()) <= 2**bits
    assert (y[x.argsort()].diff() >= 0).all()  # monotone
    assert torch.equal(weights_for(x * 2.0**power, text)(x * 2.0**power), y * 2.0**power)


@pytest.mark.parametrize("values", [[0.0, 0.0], [3.0, 3.0, 3.0], [-2.0]])
def test_degenerate_weights(values):
    x = T(values)
    y = weights_for(x, "lsq:w8a32,granularity=tensor")(x)
    torch.testing.assert_close(y, x, rtol=0.1, atol=0)
    assert weights_for(torch.zeros(2, 3), "lsq:w2a32")(torch.zeros(2, 3)).tolist() == [[0] * 3] * 2


def test_training_the_step_lowers_the_error():
    x = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    quantizer = weights_for(x, "lsq:w2a32,granularity=tensor")
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=2e-3)
    errors = []
    for _ in range(200):
        error = (quantizer(x) - x).square().sum()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.9 * errors[0]
