import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bitproof.errors import InputError
from bitproof.quant import Scheme, quantize
from bitproof.quant.binarynet import BinaryNetWeights, SignActivations
from bitproof.quant.xnor import XNORWeights

T = torch.tensor


@pytest.mark.parametrize("quantizer", [BinaryNetWeights(), SignActivations()])
def test_values_and_gradients_by_hand(quantizer):
    x = T([[-1.1, -1.0, -1e-30, -0.0, 0.0, 1.0, 1.1]], requires_grad=True)
    y = quantizer(x)
    assert y.tolist() == [[-1, -1, -1, 1, 1, 1, 1]]
    (y * T([1.0, 2, 3, 4, 5, 6, 7])).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 2, 3, 4, 5, 6, 0]]


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=30), power=st.integers(-6, 6))
def test_properties(values, power):
    x = T([values], dtype=torch.float32)
    x = torch.where(x.abs() < 1e-20, torch.zeros_like(x), x)
    for quantizer in (BinaryNetWeights(), SignActivations(), XNORWeights()):
        y = quantizer(x)
        assert len(y.unique()) <= 2
        torch.testing.assert_close(quantizer(y), y)
        assert (y[0, x[0].argsort()].diff() >= 0).all()
    torch.testing.assert_close(XNORWeights()(x * 2.0**power), XNORWeights()(x) * 2.0**power)


def test_xnor_by_hand():
    w = T([[[0.5, -1.5]], [[0.0, 3.0]]], requires_grad=True)  # [2, 1, 2]: two channels
    y = XNORWeights()(w)
    assert y.tolist() == [[[1, -1]], [[1.5, 1.5]]]
    (y * T([[[1.0, 2.0]], [[3.0, 4.0]]])).sum().backward()
    # channel 1: sum_j g_j sign_j / n = (1 - 2) / 2; alpha = 1, gate open for 0.5 alone
    # channel 2: (3 + 4) / 2; alpha = 1.5, gate open for 0 alone, where |w| has no slope
    assert w.grad is not None
    assert w.grad.tolist() == [[[-0.5 + 1, 0.5]], [[1.5 * 3, 3.5]]]


def test_xnor_gradient_is_the_product_rule():
    w = (torch.randn(3, 2, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).requires_grad_()
    outer = torch.randn_like(w)
    (XNORWeights()(w) * outer).sum().backward()
    smooth = w.detach().clone().requires_grad_()
    sign = smooth.sign().detach()
    alpha = smooth.abs().mean((1, 2, 3), keepdim=True)
    gated = sign + (smooth.clamp(-1, 1) - smooth.clamp(-1, 1).detach())
    (alpha * gated * outer).sum().backward()
    torch.testing.assert_close(w.grad, smooth.grad)


def test_xnor_zero_weights_stay_zero():
    assert XNORWeights()(torch.zeros(2, 3)).tolist() == [[0] * 3] * 2


@pytest.mark.parametrize("method", ["binarynet", "xnor"])
def test_inputs_that_are_never_negative_are_refused(method):
    images = torch.rand(4, 3, 6, 6)
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 2)]
    scheme = Scheme(method, weight_bits=1, act_bits=1)
    quantized = quantize(nn.Sequential(*layers), scheme, [images])
    seen = []
    quantized[2].input_quantizer.register_forward_hook(lambda m, args, y: seen.append(y))  # pyright: ignore
    assert quantized(images).shape == (4, 2)
    assert seen[0].unique().tolist() == [-1, 1]
    layers.insert(2, nn.ReLU())
    with pytest.raises(InputError, match=f"never negative.*{method} keeps only the sign.*without ReLU"):
        quantize(nn.Sequential(*layers), scheme, [images])
