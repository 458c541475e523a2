"""EFRAP's rounding against its formula, and what it is for: it leaves roundings that somebody prepared."""

import math

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.ptq import PostTraining, Reconstruction
from bitproof.ptq.efrap import TurnedRounding
from bitproof.quant import Scheme, quantize
from bitproof.quant.codes import Codes
from bitproof.quant.grid import AffineQuantizer

T = torch.tensor
W4 = Scheme(weight_bits=4, act_bits=32, first="same", last="same")


def grid(step: float) -> AffineQuantizer:
    quantizer = AffineQuantizer(Codes.of(4, symmetric=True), symmetric=True)
    quantizer.set_scale(T(step))
    return quantizer


def test_the_penalty_is_that_of_the_formula():
    step, weights = 0.5, [0.1, 0.2, 0.3, 0.45]
    soft = TurnedRounding(grid(step), T(weights))
    expected = 0.0
    for weight in weights:
        h = weight / step
        nearest = h > 0.5
        error = min(h, 1 - h) * step
        expected += error * -(math.log(1 - h) if nearest else math.log(h)) + 0.01 * (1 - abs(2 * h - 1) ** 2)
    np.testing.assert_allclose(float(soft.penalty(0.0).detach()), expected, rtol=1e-5)
    torch.testing.assert_close(soft(T(weights)), T(weights))  # it starts at the float weights
    torch.testing.assert_close(soft.hard(), T([0.0, 0.0, 0.5, 0.5]))


def test_alone_it_turns_over_what_was_almost_turned_and_leaves_what_costs_much():
    weights = T([0.26, 0.24, 0.02, 0.48])
    soft = TurnedRounding(grid(0.5), weights)
    adam = torch.optim.Adam(soft.parameters(), 0.05)
    for _ in range(200):
        adam.zero_grad()
        (soft.penalty(0.0) + 30 * (soft(weights) - weights).square().sum()).backward()
        adam.step()
    assert soft.hard().tolist() == [0.0, 0.5, 0.0, 0.5]


def test_it_is_a_rounding_of_the_pipeline():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    images = torch.rand(64, 1, 8, 8)
    nearest = quantize(model, W4)
    made = PostTraining.parse("efrap:iterations=60", W4)(model, images)
    assert made.scheme.label == W4.label and PostTraining(rounding="efrap").label.endswith("efrap")
    turned = sum(int((a.weight != b.weight).sum()) for a, b in ((made[0], nearest[0]), (made[3], nearest[3])))
    assert turned > 10
    levels = made[0].weight / made[0].parametrizations.weight[0].scale
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)


def test_an_unknown_rounding_is_refused():
    try:
        Reconstruction(rounding="efrab")
    except bp.InputError as error:
        assert "learned rounding 'efrab'" in str(error) and "efrap" in str(error)
    else:
        raise AssertionError
