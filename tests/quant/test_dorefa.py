import math

import pytest
import torch

from bitproof.quant.dorefa import DoReFaActivations, DoReFaWeights

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


def test_the_weight_gradient_passes_through_tanh_and_the_maximum():
    w = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    DoReFaWeights(3)(w)[2].backward()
    smooth = w.detach().clone().requires_grad_()
    squashed = smooth.tanh()  # the same without rounding
    (squashed[2] / squashed.abs().max()).backward()
    torch.testing.assert_close(w.grad, smooth.grad)


def test_activations_by_hand():
    x = T([-1.0, 0.1, 0.5, 0.9, 2.0], requires_grad=True)
    y = DoReFaActivations(2)(x)
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
    assert len(DoReFaActivations(bits)(torch.linspace(-1, 2, 10_001)).unique()) == 2**bits


@pytest.mark.parametrize("magnitude", [1e-3, 1.0, 100.0])
def test_one_bit_weights_have_two_levels_at_every_magnitude(magnitude):
    w = magnitude * torch.randn(5000, generator=torch.Generator().manual_seed(1))
    assert len(DoReFaWeights(1)(w).unique()) == 2


def test_all_zero_weights_stay_finite():
    assert torch.isfinite(DoReFaWeights(4)(torch.zeros(3))).all()
