"""Straight-through estimators, pass counting and fingerprints."""

import copy

import pytest
import torch
from torch import nn

from bitproof.core.passes import Counted
from bitproof.core.ste import round_ste, scale_gradient, sign_ste, straight_through
from bitproof.subjects.fingerprint import fingerprint


@pytest.mark.parametrize(
    ("step", "values", "forward", "backward"),
    [
        (round_ste, [-1.5, -0.2, 0.5, 2.5], [-2, 0, 0, 2], [1, 1, 1, 1]),
        (sign_ste, [-1.5, -0.2, 0.0, 0.7, 2.0], [-1, -1, 1, 1, 1], [0, 1, 1, 1, 0]),
    ],
)
def test_straight_through_values_and_gradients(step, values, forward, backward):
    x = torch.tensor(values, requires_grad=True)
    y = step(x)
    y.sum().backward()
    assert y.tolist() == forward
    assert x.grad is not None
    assert x.grad.tolist() == backward


def test_replaced_values_are_exact_and_pass_the_gradient():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = torch.rand(1000, requires_grad=True)
    y = straight_through(x, value)
    (3 * y).sum().backward()
    assert torch.equal(y, value)
    assert x.grad is not None
    assert (x.grad == 3).all()
    assert value.grad is None


def test_a_scaled_gradient_leaves_the_value_exact():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = scale_gradient(x, 0.3)
    (2 * y).sum().backward()
    assert torch.equal(y, x)
    torch.testing.assert_close(x.grad, torch.full((1000,), 0.6))


def test_passes_are_counted_in_examples():
    counted = Counted(nn.Linear(4, 2))
    x = torch.randn(5, 4, requires_grad=True)
    counted(x).sum().backward()
    with torch.no_grad():
        counted(x[:3])
    counted(x)  # no backward through this one
    assert (counted.forwards, counted.backwards) == (13, 5)


def test_fingerprint_sees_what_changes_the_function():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)
            self.activation = nn.ReLU()

        def forward(self, x):
            return self.linear(self.activation(x))

    model = Mine()
    same = fingerprint(copy.deepcopy(model))
    assert fingerprint(model) == same
    other_weight, other_layer = copy.deepcopy(model), copy.deepcopy(model)
    with torch.no_grad():
        other_weight.linear.weight[0, 0] += 1e-6
    other_layer.activation = nn.ReLU6()

    class Yours(Mine):
        def forward(self, x):
            return -self.linear(self.activation(x))

    other_code = Yours()
    other_code.load_state_dict(model.state_dict())
    prints = {same, *(fingerprint(m) for m in (other_weight, other_layer, other_code))}
    assert len(prints) == 4


def test_fingerprint_reads_every_dtype():
    half, brain = nn.Linear(2, 2).half(), nn.Linear(2, 2).bfloat16()
    assert fingerprint(half) != fingerprint(brain)
