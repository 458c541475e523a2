import math

import pytest
import torch

from bitproof.quant import ReLU1, ReLU6, Tanh
from bitproof.quant.bounded import BoundedActivations, TanhActivations

T = torch.tensor


def gradient(module: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(module(x).sum(), x)
    return g


def test_relu6_by_hand():
    x = T([-1.0, 0.9, 1.1, 3.1, 5.9, 7.0])
    torch.testing.assert_close(BoundedActivations(2, 6.0)(x), T([0.0, 0.0, 2.0, 4.0, 6.0, 6.0]))
    assert gradient(BoundedActivations(2, 6.0), x).tolist() == [0, 1, 1, 1, 1, 0]


def test_relu1_at_one_bit_by_hand():
    x = T([-1.0, 0.4, 0.6, 3.0])
    assert BoundedActivations(1, 1.0)(x).tolist() == [0, 0, 1, 1]
    assert gradient(BoundedActivations(1, 1.0), x).tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("bits", [1, 2, 8])
@pytest.mark.parametrize("bound", [1.0, 6.0])
def test_the_ends_of_the_range_have_a_gradient(bits, bound):
    """Black and white pixels, and what a ReLU lets through, are not masked."""
    x = T([-0.01, 0.0, bound, 1.01 * bound])
    assert gradient(BoundedActivations(bits, bound), x).tolist() == [0, 1, 1, 0]
    several = x.repeat(2, 3, 5, 1)  # of other strides too
    assert gradient(BoundedActivations(bits, bound), several.transpose(1, 2)).sum() == 2 * 2 * 3 * 5


def test_second_derivatives_go_through_the_rounding():
    weight = T(0.5, requires_grad=True)
    x = T([0.2, 0.7, 3.0])
    (first,) = torch.autograd.grad((BoundedActivations(4, 1.0)(weight * x) * x).sum(), weight, create_graph=True)
    assert first.item() == pytest.approx(0.2**2 + 0.7**2)
    assert torch.autograd.grad(first, weight, allow_unused=True)[0] in (None, 0)


def test_tanh_by_hand():
    x = T([math.atanh(v) for v in (-0.9, -0.5, 0.1, 0.6, 0.7)])
    torch.testing.assert_close(TanhActivations(2, dynamic=False)(x), T([-1, -1 / 3, 1 / 3, 1 / 3, 1]))
    assert TanhActivations(1, dynamic=False)(x).tolist() == [-1, -1, 1, 1, 1]
    torch.testing.assert_close(gradient(TanhActivations(2, dynamic=False), x), T([0.19, 0.75, 0.99, 0.64, 0.51]))


def test_a_large_activation_has_no_gradient_left_through_tanh():
    assert gradient(TanhActivations(8, dynamic=False), T([10.0])).abs() < 1e-6
    assert gradient(BoundedActivations(8, 6.0), T([5.9])) == 1


def test_the_width_of_dynamic_tanh_is_learned():
    module = TanhActivations(3, dynamic=True)
    x = T([-2.0, 0.3, 1.0])
    assert module.scale is not None
    assert torch.equal(module(x), TanhActivations(3, dynamic=False)(x))
    with torch.no_grad():
        module.scale.fill_(2.0)
    assert torch.equal(module(2 * x), TanhActivations(3, dynamic=False)(x))
    module(2 * x).sum().backward()
    torch.testing.assert_close(module.scale.grad, -((1 - x.tanh() ** 2) * 2 * x / 4).sum())  # d tanh(x/s) / ds
    assert not list(TanhActivations(3, dynamic=False).parameters())


@pytest.mark.parametrize("bits", range(1, 9))
def test_all_levels_are_reached_and_no_others(bits):
    x = torch.linspace(-20, 20, 40_001)
    for module, low, high in [
        (BoundedActivations(bits, 6.0), 0, 6),
        (BoundedActivations(bits, 1.0), 0, 1),
        (TanhActivations(bits, dynamic=False), -1, 1),
    ]:
        y = module(x)
        torch.testing.assert_close(y.unique(), torch.linspace(low, high, 2**bits), atol=1e-6, rtol=0)
        assert (y.diff() >= 0).all()
        if low == 0:
            torch.testing.assert_close(module(y), y)


def test_each_method_gets_its_own_quantizer():
    relu6, relu1, tanh, dynamic = (m.inputs(3) for m in (ReLU6(), ReLU1(), Tanh(), Tanh(dynamic=True)))
    assert isinstance(relu6, BoundedActivations)
    assert isinstance(relu1, BoundedActivations)
    assert isinstance(tanh, TanhActivations)
    assert isinstance(dynamic, TanhActivations)
    assert (relu6.bound, relu1.bound, tanh.scale) == (6, 1, None)
    assert dynamic.scale is not None
    assert {module.bits for module in (relu6, relu1, tanh, dynamic)} == {3}
