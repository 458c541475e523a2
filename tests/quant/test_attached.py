"""What training asks of the quantizers in a model."""

import pytest
import torch
from torch import nn

from bitproof.quant import PACT, Scheme, after_step, penalty, quantize, quantizer_parameters
from bitproof.quant.attached import input_quantizer, weight_quantizer
from bitproof.quant.quantizer import InputQuantizer, WeightQuantizer


class Doubled(WeightQuantizer):
    """With a penalty and a rule of its own after each step."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, weight):
        return self.scale * weight

    def penalty(self):
        return 3 * self.scale

    def after_step(self, weight):
        weight.clamp_(max=0.5)


class Mine(PACT):
    def weights(self, weight, bits):
        return Doubled()


@pytest.fixture
def layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def test_quantizers_of_ones_own_are_heard(layers):
    torch.nn.init.ones_(layers[2].weight)
    scheme = Scheme(Mine(), weight_bits=4, act_bits=4, last="same")
    quantized = quantize(layers, scheme, [torch.rand(8, 4)])
    alpha = input_quantizer(quantized[2]).alpha
    expected = 3 * 2.0 + alpha.item() ** 2
    torch.testing.assert_close(penalty(quantized).item(), expected)
    assert [p is alpha or p.item() == 2 for p in quantizer_parameters(quantized)] == [True, True]
    first = quantized[0].parametrizations.weight.original.clone()
    after_step(quantized)
    assert quantized[2].parametrizations.weight.original.eq(0.5).all()
    assert torch.equal(quantized[0].parametrizations.weight.original, first)


def test_a_float_model_has_nothing_to_say(layers):
    before = layers[0].weight.clone()
    after_step(layers)
    assert penalty(layers).item() == 0
    assert not list(quantizer_parameters(layers))
    assert torch.equal(layers[0].weight, before)
    assert weight_quantizer(layers[0]) is None
    assert input_quantizer(layers[0]) is None


def test_a_weight_that_is_computed_keeps_its_parts_and_its_quantizer_is_found(layers):
    nn.utils.parametrizations.weight_norm(layers[0])
    assert weight_quantizer(layers[0]) is None
    quantized = quantize(layers, Scheme("binaryconnect", weight_bits=1, act_bits=32, first="same", last="same"))
    before = {name: tensor.clone() for name, tensor in quantized[0].state_dict().items()}
    after_step(quantized)
    assert all(torch.equal(before[name], tensor) for name, tensor in quantized[0].state_dict().items())
    assert isinstance(weight_quantizer(quantized[0]), WeightQuantizer)
    learning = quantize(layers, Scheme("lsq", weight_bits=2, act_bits=32, first="same"))
    assert len(list(quantizer_parameters(learning))) == 1


def test_a_quantizer_that_says_nothing_has_no_integers():
    assert WeightQuantizer().code_scale(torch.ones(1, 1)) == "bitproof knows no grid of codes for it"
    assert InputQuantizer().code_grid() == "bitproof knows no grid of codes for it"
