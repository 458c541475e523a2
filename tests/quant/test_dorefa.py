import math

import pytest
import torch
from torch import nn

from bitproof.errors import InputError
from bitproof.quant import Scheme, compute_layers, freeze, quantize
from bitproof.quant.bounded import BoundedActivations
from bitproof.quant.dorefa import DoReFaGradients, DoReFaWeights

T = torch.tensor


def test_weights_by_hand():
    w = T([math.atanh(0.5), math.atanh(-0.5), 0.0, math.atanh(0.2)])  # tanh: .5 -.5 0 .2, largest .5
    # mapped to 1, 0, .5, .7; times 3: 3, 0, 1.5 -> 2 (even), 2.1 -> 2; levels 1, -1, 1/3, 1/3
    torch.testing.assert_close(DoReFaWeights(2)(w), T([1.0, -1.0, 1 / 3, 1 / 3]))


def test_one_bit_weights_are_the_scaled_sign():
    w = T([0.5, -1.5, 0.0], requires_grad=True)
    y = DoReFaWeights(1)(w)
    torch.testing.assert_close(y.detach(), T([2 / 3, -2 / 3, 2 / 3]))
    y.sum().backward()
    torch.testing.assert_close(w.grad, torch.ones(3))


@pytest.mark.parametrize("largest", [(), (3.0,), (3.0, -3.0, 3.0)])
def test_the_weight_gradient_passes_through_tanh_and_the_maximum(largest):
    draws = torch.Generator().manual_seed(0)
    w = torch.cat([torch.randn(7, dtype=torch.float64, generator=draws), T(largest, dtype=torch.float64)])
    outer = torch.randn(len(w), dtype=torch.float64, generator=draws)
    w.requires_grad_()
    (DoReFaWeights(3)(w) * outer).sum().backward()
    smooth = w.detach().clone().requires_grad_()
    squashed = smooth.tanh()  # the same without rounding
    (squashed / squashed.abs().max() * outer).sum().backward()
    torch.testing.assert_close(w.grad, smooth.grad)


def test_activations_by_hand():
    x = T([-1.0, 0.1, 0.5, 0.9, 2.0], requires_grad=True)
    y = BoundedActivations(2, 1.0)(x)
    torch.testing.assert_close(y.detach(), T([0, 0, 2 / 3, 1, 1]))
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("bits", range(1, 9))
def test_at_most_two_to_the_bits_levels(bits):
    w = torch.randn(5000, generator=torch.Generator().manual_seed(0))
    levels = DoReFaWeights(bits)(w).unique()
    assert len(levels) <= 2**bits
    if bits > 1:
        assert levels.abs().max() == 1
    assert len(BoundedActivations(bits, 1.0)(torch.linspace(-1, 2, 10_001)).unique()) == 2**bits


@pytest.mark.parametrize("magnitude", [1e-3, 1.0, 100.0])
def test_one_bit_weights_have_two_levels_at_every_magnitude(magnitude):
    w = magnitude * torch.randn(5000, generator=torch.Generator().manual_seed(1))
    assert len(DoReFaWeights(1)(w).unique()) == 2


def test_all_zero_weights_stay_finite():
    assert torch.isfinite(DoReFaWeights(4)(torch.zeros(3))).all()


def quantized_gradient(quantizer: DoReFaGradients, gradient: torch.Tensor) -> torch.Tensor:
    x = torch.zeros_like(gradient, requires_grad=True)
    quantizer(x).backward(gradient)
    assert x.grad is not None
    return x.grad


def test_gradients_lie_on_the_grid_of_their_example():
    gradient = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * T([1.0, 10, 1e-3, 0]).view(
        4, 1, 1, 1
    )
    result = quantized_gradient(DoReFaGradients(2, key=0), gradient)
    for example, exact in zip(result, gradient, strict=True):
        if exact.any():
            codes = (example / exact.abs().max() + 1) / 2 * 3
            torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-5)
            assert codes.round().unique().tolist() == [0, 1, 2, 3]
        else:
            assert example.abs().max() < 1e-30


def test_gradients_are_unbiased():
    """The noise spreads each value over its two neighbours in proportion; at 2 bits the step is 2/3 of the largest."""
    gradient = T([[1.0, -0.9, 0.5, 0.1, 0.0, -0.4]])
    quantizer = DoReFaGradients(2, key=1)
    mean = torch.stack([quantized_gradient(quantizer, gradient) for _ in range(4000)]).mean(0)
    deviation = 2 / 3 / 2 / math.sqrt(4000)  # of a mean of two-valued draws, at most
    assert (mean - gradient).abs().max() < 5 * deviation


def test_gradients_are_quantized_in_training_only_and_values_never():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Linear(6, 5), nn.Linear(5, 3))
    scheme = Scheme("dorefa", weight_bits=4, act_bits=32, grad_bits=2)
    assert scheme.label == "dorefa w4a32g2"
    assert Scheme.parse("dorefa:w4a32g2") == scheme
    quantized = quantize(model, scheme)
    plain = quantize(model, Scheme("dorefa", weight_bits=4, act_bits=32))
    images = torch.rand(7, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    middle = dict(compute_layers(quantized))["2"]

    def bias_gradient(model) -> torch.Tensor:
        (gradient,) = torch.autograd.grad(model(images).square().sum(), model[2].bias)
        return gradient

    assert torch.equal(quantized(images), plain(images))
    assert torch.equal(bias_gradient(quantized), bias_gradient(plain))
    assert torch.equal(quantized.train()(images), plain.train()(images))
    assert not torch.allclose(bias_gradient(quantized), bias_gradient(plain))
    assert middle.gradient_quantizer.draws.item() == 1
    assert [hasattr(layer, "gradient_quantizer") for _, layer in compute_layers(quantized)] == [False, True, False]
    assert torch.equal(freeze(quantized)(images), freeze(plain)(images))


def test_other_methods_keep_float_gradients():
    with pytest.raises(InputError, match="grad_bits is 4: lsq leaves gradients float"):
        Scheme("lsq", weight_bits=4, act_bits=4, grad_bits=4)
