import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitproof.quant.codes import Codes
from bitproof.quant.grid import AffineQuantizer, affine_grid, fake_quantize

T = torch.tensor


def quantizer_for(x: torch.Tensor, bits: int, symmetric: bool) -> AffineQuantizer:
    quantizer = AffineQuantizer(Codes.of(bits, symmetric=symmetric), symmetric=symmetric)
    quantizer.set_range(x.min(), x.max())
    return quantizer


def test_codes_by_hand():
    assert [(Codes.of(b, symmetric=True).qmin, Codes.of(b, symmetric=True).qmax) for b in (2, 8)] == [
        (-1, 1),
        (-127, 127),
    ]
    assert [(Codes.of(b, symmetric=False).qmin, Codes.of(b, symmetric=False).qmax) for b in (1, 4)] == [(0, 1), (0, 15)]


def test_a_grid_by_hand():
    scale, zero = affine_grid(T(-1.0), T(2.0), Codes.of(2, symmetric=False), symmetric=False)
    assert (scale.item(), zero.item()) == (1.0, 1.0)
    y = fake_quantize(T([-9.0, -1.0, 0.4, 0.5, 0.6, 1.5, 2.5, 9.0]), scale, zero, Codes.of(2, symmetric=False))
    assert y.tolist() == [-1, -1, 0, 0, 1, 2, 2, 2]  # ties go to the even code


def test_gradients_by_hand():
    x = T([-1.01, -0.99, 0.0, 0.3, 1.49, 1.51], requires_grad=True)
    codes, scale, zero = Codes.of(2, symmetric=False), T(0.5), T(1.0)  # the grid is -0.5, 0, 0.5, 1
    y = fake_quantize(x, scale, zero, codes)
    (3 * y).sum().backward()
    assert y.tolist() == [-0.5, -0.5, 0, 0.5, 1, 1]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 3, 3, 3, 3, 0]
    channels = T([[0.1, 9.0], [0.1, 9.0]], requires_grad=True)
    fake_quantize(channels, T([[1.0], [10.0]]), T([[0.0], [0.0]]), codes).sum().backward()
    assert channels.grad is not None
    assert channels.grad.tolist() == [[1, 0], [1, 1]]


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_equals_torchs_own_operator(bits, symmetric):
    codes = Codes.of(bits, symmetric=symmetric)
    x = torch.randn(64, 33, generator=torch.Generator().manual_seed(bits)) * 3
    scale, zero = affine_grid(x.min(), x.max(), codes, symmetric=symmetric)
    scale = 2.0 ** scale.log2().round()  # a power of two: dividing and multiplying by 1/scale round alike
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = fake_quantize(ours, scale, zero, codes)
    z = torch.fake_quantize_per_tensor_affine(theirs, scale.item(), int(zero), codes.qmin, codes.qmax)
    assert torch.equal(y, z)
    weights = torch.randn_like(x)
    (y * weights).sum().backward()
    (z * weights).sum().backward()
    low, high = (codes.qmin - zero) * scale, (codes.qmax - zero) * scale
    certain = (x - (low + high) / 2).abs() - (high - low) / 2  # torch cuts at half a step outside, we at one
    certain = (certain < scale / 2) | (certain > scale)
    assert torch.equal(ours.grad[certain], theirs.grad[certain])  # pyright: ignore
    assert certain.float().mean() > 0.9


def test_per_channel_equals_torchs_own_operator():
    codes = Codes.of(4, symmetric=True)
    weight = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    rows = weight.flatten(1)
    quantizer = AffineQuantizer(codes, symmetric=True, shape=(6, 1, 1, 1))
    quantizer.set_range(rows.amin(1), rows.amax(1))
    zero = torch.zeros(6, dtype=torch.int32)
    theirs = torch.fake_quantize_per_channel_affine(weight, quantizer.scale.flatten(), zero, 0, codes.qmin, codes.qmax)
    torch.testing.assert_close(quantizer(weight), theirs, rtol=0, atol=1e-6)


FLOATS = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=40)


@settings(max_examples=200, deadline=None)
@given(values=FLOATS, bits=st.integers(2, 8), symmetric=st.booleans())
def test_properties_of_every_grid(values, bits, symmetric):
    x = torch.tensor(values, dtype=torch.float32)
    quantizer = quantizer_for(x, bits, symmetric)
    y = quantizer(x)
    assert torch.equal(quantizer(y), y)  # idempotent
    assert len(y.unique()) <= 2**bits
    assert (y[x.argsort()].diff() >= 0).all()  # monotone
    assert quantizer(torch.zeros(1)).item() == 0  # zero is exact
    step = quantizer.scale
    low, high = (
        (quantizer.codes.qmin - quantizer.zero_point) * step,
        (quantizer.codes.qmax - quantizer.zero_point) * step,
    )
    inside = (x >= low) & (x <= high)
    assert ((y - x).abs()[inside] <= step / 2 * (1 + 1e-4)).all()


@settings(max_examples=50, deadline=None)
@given(values=FLOATS, power=st.integers(-8, 8))
def test_scaling_the_tensor_scales_the_result(values, power):
    x = torch.tensor(values, dtype=torch.float32)
    # below about 1e-30 the scale itself loses bits
    x = torch.where(x.abs() < 1e-20, torch.zeros_like(x), x)
    factor = 2.0**power
    assert torch.equal(quantizer_for(x * factor, 4, True)(x * factor), quantizer_for(x, 4, True)(x) * factor)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("values", [[0.0, 0.0], [3.0, 3.0], [-2.0], [1e-45, 0.0]])
def test_degenerate_tensors_stay_finite(values, symmetric):
    x = T(values)
    y = quantizer_for(x, 4, symmetric)(x)
    np.testing.assert_allclose(y, x, rtol=1e-6, atol=1e-40)


def test_the_range_the_grid_was_made_for_keeps_its_gradient():
    # [-1, 1] on 256 levels: zero falls between two codes, so the grid misses one end by half a step.
    x = torch.linspace(-1, 1, 1001, requires_grad=True)
    quantizer_for(x.detach(), 8, symmetric=False)(x).sum().backward()
    assert x.grad is not None
    assert (x.grad == 1).all()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(2, 3, 400, 300), (2, 1, 700, 400), (1, 1, 1, 1), (0, 3, 4, 4)])
@pytest.mark.parametrize("stride", [1, 2])
def test_large_tensors_are_rounded_in_blocks_wherever_their_numbers_lie(layout, shape, stride):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)[..., ::stride]
    scale, codes = torch.full((1, 1, 1, 1), 0.02), Codes.of(8, symmetric=True)
    expected = (x / scale).round().clamp(codes.qmin, codes.qmax) * scale
    y = fake_quantize(x, scale, torch.zeros(()), codes)
    assert y.equal(expected)
    assert y.stride() == torch.empty_like(x).stride()
