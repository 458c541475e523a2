"""What every architecture in the table keeps to, whatever it is."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bitproof import Scheme, quantize
from bitproof.models import MODELS, build_model


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    """One build for all tests of a network: drawing 36 million numbers takes a second."""
    return build_model(name)


@pytest.fixture
def inputs(name):
    return torch.rand(2, *MODELS[name].shape, generator=torch.Generator().manual_seed(0))


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_images_of_the_declared_shape_become_logits(name, model, inputs):
    before = inputs.clone()
    with torch.no_grad():
        logits, alone = model(inputs), model(inputs[:1])
    assert torch.equal(inputs, before)
    assert logits.shape == (2, MODELS[name].classes) and logits.isfinite().all()
    assert (alone - logits[:1]).norm() <= 1e-4 * alone.norm()  # no image sees the others
    assert not any(module.training for module in model.modules())


def test_the_number_of_classes_is_free(name):
    with torch.device("meta"):
        assert MODELS[name].build(3).eval()(torch.empty(1, *MODELS[name].shape)).shape == (1, 3)


def test_weights_follow_the_seed_and_survive_their_state_dict(name, model):
    torch.manual_seed(1)  # the global generator has no say, and nothing is drawn from it
    state = torch.get_rng_state()
    other = build_model(name, seed=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(model.state_dict(), other.state_dict())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    other.load_state_dict(model.state_dict())
    assert same(model.state_dict(), other.state_dict())
    assert not same(model.state_dict(), build_model(name, seed=1).state_dict())


def test_every_weight_takes_part_in_training(model, inputs):
    training = copy.deepcopy(model).train()
    with torch.random.fork_rng():
        torch.manual_seed(0)  # dropout
        F.cross_entropy(training(inputs.requires_grad_()), torch.tensor([0, 1])).backward()
    assert inputs.grad is not None and inputs.grad.isfinite().all() and inputs.grad.any()
    for where, parameter in training.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), where
        assert parameter.grad.any() or parameter.dim() == 1, where  # a bias before a batch norm gets none


def test_quantization_reaches_every_layer(model, inputs):
    quantized = quantize(model, Scheme("affine", weight_bits=8, act_bits=8), [inputs])
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        exact, rounded = model(inputs), quantized(inputs)
    assert sum(type(module).__name__ == "AffineQuantizer" for module in quantized.modules()) == 2 * len(layers)
    assert 0 < (rounded - exact).norm() < 0.2 * exact.norm()
