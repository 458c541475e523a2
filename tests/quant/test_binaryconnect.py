import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from bitproof.core.rng import Rng
from bitproof.quant import BinaryConnect, Scheme, after_step, freeze, quantize
from bitproof.quant.binaryconnect import (
    BinaryConnectWeights,
    StochasticBinaryConnectWeights,
)
from bitproof.quant.draws import seed_draws

T = torch.tensor
DETERMINISTIC = Scheme("binaryconnect", weight_bits=1, act_bits=32, first="same", last="same")
STOCHASTIC = Scheme(BinaryConnect(stochastic=True), weight_bits=1, act_bits=32, first="same", last="same")

BINARYNET = Scheme("binarynet", weight_bits=1, act_bits=32, first="same", last="same")
EDGES = Scheme("binarynet", weight_bits=1, act_bits=32)  # a network of two layers is all edge


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5))


def test_values_and_gradients_by_hand():
    w = T([[-3.0, -0.25, 0.0, -0.0, 0.2]], requires_grad=True)
    y = BinaryConnectWeights(limit=0.25)(w)
    assert y.tolist() == [[-0.25, -0.25, 0.25, 0.25, 0.25]]
    (y * T([1.0, 2, 3, 4, 5])).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [[0, 2, 3, 4, 5]]  # that of w_b, where |w| is within the limit


@pytest.mark.parametrize("stochastic", [False, True])
def test_the_equation_of_bernhard2019(stochastic):
    """w_b in {-1, 1}, dC/dw = dC/dw_b 1[|w| <= 1] (its Eq. 1), to the last bit at the clip."""
    weight = T([[-3.0, -1.0, -0.4, 0.0, 0.7, 1.0, 1.0001]], requires_grad=True)
    y = BinaryConnect(stochastic=stochastic).weights(weight.detach(), 1)(weight)
    assert set(y.tolist()[0]) <= {-1, 1} and y[0, [0, 1, 5, 6]].tolist() == [-1, -1, 1, 1]
    (gradient,) = torch.autograd.grad(y.sum(), weight)
    assert gradient.tolist() == [[0, 1, 1, 1, 1, 1, 0]]
    glorot = BinaryConnect(glorot=True).weights(weight.detach(), 1)
    clipped = weight.detach().clone()
    glorot.after_step(clipped)
    clipped.requires_grad_()
    (gradient,) = torch.autograd.grad(glorot(clipped).sum(), clipped)
    assert gradient.tolist() == [[1] * 7]  # what was clipped is within


def test_glorots_limit_is_that_of_the_papers_code():
    method = BinaryConnect(glorot=True)
    linear = method.weights(torch.ones(5, 16), 1)
    conv = method.weights(torch.ones(4, 3, 5, 5), 1)
    assert linear.limit == pytest.approx(math.sqrt(1.5 / 21))
    assert conv.limit == pytest.approx(math.sqrt(1.5 / (25 * 3 + 25 * 4)))


@pytest.mark.parametrize("magnitude", [1e-3, 1.0, 100.0])
def test_exactly_two_levels(magnitude):
    w = magnitude * torch.randn(5000, generator=torch.Generator().manual_seed(0))
    assert len(BinaryConnectWeights(limit=0.1)(w).unique()) == 2
    assert len(StochasticBinaryConnectWeights(limit=0.1, key=0)(w).unique()) == 2


def test_the_chance_is_the_hard_sigmoid():
    quantizer = StochasticBinaryConnectWeights(limit=0.5, key=3)
    w = T([-0.7, -0.5, -0.25, 0.0, 0.25, 0.5, 0.7])
    up = torch.stack([quantizer(w.repeat(2000, 1)) > 0 for _ in range(2)]).float().mean((0, 1))
    assert up[[0, 1, 5, 6]].tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(up[2:5], T([0.25, 0.5, 0.75]), rtol=0, atol=4 * math.sqrt(0.25 / 4000))


def test_the_gradient_of_a_draw_passes_within_the_limit():
    w = T([-3.0, 0.1, 3.0], requires_grad=True)
    StochasticBinaryConnectWeights(limit=1.0, key=0)(w).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [0, 1, 0]


def test_tests_use_float_weights():
    model, images = network().eval(), torch.rand(2, 3, 4, 4)
    quantized = quantize(model, STOCHASTIC)
    assert torch.equal(quantized(images), model(images))
    assert torch.equal(freeze(quantized)(images), model(images))
    assert not torch.equal(quantized.train()(images), model(images))


def test_draws_are_new_each_pass_and_a_resumed_run_goes_on_as_if_uninterrupted():
    images = torch.rand(2, 3, 4, 4)
    run = quantize(network(), STOCHASTIC).train()
    first, state = run(images), copy.deepcopy(run.state_dict())
    second = run(images)
    assert not torch.equal(first, second)
    resumed = quantize(network(), STOCHASTIC).train()
    resumed(images), resumed(images), resumed(images)
    resumed.load_state_dict(state)
    torch.rand(3)  # the global stream plays no part
    assert torch.equal(resumed(images), second)
    assert torch.equal(quantize(network(), STOCHASTIC).train()(images), first)


def test_layers_of_one_shape_draw_apart():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 30), nn.Linear(30, 30))
    quantized: nn.Sequential = quantize(model, STOCHASTIC).train()  # pyright: ignore
    for layer in quantized:
        layer.parametrizations.weight.original.data.zero_()  # pyright: ignore
    agreement = (quantized[0].weight == quantized[1].weight).float().mean()  # pyright: ignore
    assert 0.35 < agreement < 0.65


def test_draws_follow_the_seed_of_the_run():
    images = torch.rand(2, 3, 4, 4)

    def logits(seed: int, before: int = 1) -> torch.Tensor:
        quantized = quantize(network(), STOCHASTIC).train()
        for _ in range(before):
            quantized(images)
        seed_draws(quantized, Rng(seed, np.array([0])))
        return quantized(images)

    assert torch.equal(logits(1), logits(1, before=3))
    assert not torch.equal(logits(1), logits(2))


@pytest.mark.parametrize("scheme", [DETERMINISTIC, STOCHASTIC, BINARYNET, EDGES])
def test_clipping_changes_the_float_weights_of_binary_layers_only(scheme):
    model = network()
    with torch.no_grad():
        model[3].weight.mul_(100), model[0].weight.mul_(100), model[0].bias.mul_(100)  # pyright: ignore
    quantized = quantize(model, scheme)
    biases = quantized[0].bias.clone()  # pyright: ignore
    after_step(quantized)
    for layer in (quantized[0], quantized[3]):  # pyright: ignore
        chain = layer.parametrizations.weight
        if scheme.first == "same":
            limit = 1 if scheme == BINARYNET else chain[0].limit
            assert chain.original.abs().max().item() == pytest.approx(limit)
        else:
            assert chain.original.abs().max() > 1  # an 8-bit edge
    assert torch.equal(quantized[0].bias, biases)  # pyright: ignore


def test_clipping_leaves_other_models_alone():
    model = network()
    before = copy.deepcopy(model.state_dict())
    after_step(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not parametrize.is_parametrized(model)


@pytest.mark.parametrize("values", [[[0.0, 0.0]], [[3.0, 3.0]], [[-2.0]]])
def test_degenerate_weights(values):
    w = T(values)
    y = BinaryConnect().weights(w, 1)(w)
    assert torch.equal(y.sign(), torch.where(w < 0, -1.0, 1.0))
