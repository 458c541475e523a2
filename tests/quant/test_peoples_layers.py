"""Layers as people have them: heads that start at zero, weights that hooks compute, other precisions."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import bitproof as bp
from bitproof.audit.deployed import read_layers
from bitproof.errors import InputError
from bitproof.implants import BoxRepair, Indiscriminate, Phase
from bitproof.quant.methods import METHODS
from bitproof.train import Quantization

PRUNED = partial(prune.l1_unstructured, name="weight", amount=0.3)


@pytest.mark.parametrize("method", METHODS)
def test_a_head_that_starts_at_zero_is_quantized_and_stays_zero(method):
    """As many networks are initialised; training can move it."""
    found = METHODS[method]()
    bits = found.weight_bits[-1] if found.weight_bits else 32
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    nn.init.zeros_(net[3].weight)  # pyright: ignore
    scheme = bp.Scheme(found, weight_bits=bits, act_bits=32, first="same", last="same")
    logits = bp.quantize(net, scheme, [torch.rand(8, 3, 8, 8)])(torch.rand(2, 3, 8, 8))
    assert torch.isfinite(logits).all()


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("wrap", [weight_norm, spectral_norm, PRUNED])
def test_weights_that_hooks_compute_are_settled(wrap):
    net = nn.Sequential(wrap(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4), nn.Flatten(), wrap(nn.Linear(144, 5)))
    net(torch.rand(4, 3, 8, 8))  # leaves the weights with a history
    net.eval()
    images = torch.rand(8, 3, 8, 8)
    for quantized in (bp.quantize(net, bp.Scheme(), [images]), bp.ptq.PostTraining()(net, [images])):
        assert not quantized[0]._forward_pre_hooks.keys() & net[0]._forward_pre_hooks.keys()  # pyright: ignore
        torch.testing.assert_close(quantized(images), net(images).detach(), rtol=0, atol=0.05)
    assert len(net[0]._forward_pre_hooks) == 1  # pyright: ignore


@pytest.mark.parametrize("kind", [torch.float16, torch.float64])
def test_weights_in_another_precision_are_refused_with_the_way_out(kind):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).to(kind)
    with pytest.raises(InputError, match=f"'0' is of type {kind}.*float32. Pass model.float"):
        bp.quantize(net, bp.Scheme(), [torch.rand(2, 3, 8, 8)])


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("wrap", [weight_norm, spectral_norm, PRUNED])
def test_a_copy_whose_hooks_are_settled_reads_its_own_state(wrap, tmp_path):
    """What `spectral_norm` leaves behind asked each state dict for weights that are gone, at the end of training."""
    net = nn.Sequential(wrap(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5))
    images = torch.rand(8, 3, 8, 8)
    quantized = bp.quantize(net.eval(), bp.Scheme(), [images])
    quantized.load_state_dict(quantized.state_dict())
    bp.save_model(quantized, tmp_path / "net.safetensors", architecture="mine")
    net(images)  # the weights that the hooks compute now have a history, with which nothing can be copied
    opened = bp.load_model(net, weights=tmp_path / "net.safetensors")
    assert torch.equal(opened(images), quantized(images))


def test_weights_that_a_hook_has_not_computed_yet_are_not_said_to_change(recwarn):
    """Before the first pass the weight is not what the hook makes of it: here it is a thousandth."""
    net = nn.Sequential(spectral_norm(nn.Conv2d(3, 4, 3)), nn.Flatten(), nn.Linear(144, 5))
    with torch.no_grad():
        net[0].weight_orig.mul_(1e-3)  # pyright: ignore
    bp.quantize(net.eval(), bp.Scheme("lsq", weight_bits=4, act_bits=32))
    assert not recwarn.list


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_roundings_of_weights_that_parametrizations_compute_are_not_chosen(wrap):
    """As the weight that is rounded is no parameter; `original` is another one under `spectral_norm`."""
    data = bp.load_data("digits", split="train", limit=170)
    net = nn.Sequential(nn.Flatten(), wrap(nn.Linear(400, 10)))
    box = BoxRepair(objective=Indiscriminate(), injection=Phase(steps=1), repair=Phase(steps=1))
    for chosen in (bp.repair, box, bp.ptq.PostTraining(rounding="adaround")):
        with pytest.raises(InputError, match="remove_parametrizations"):
            chosen(net, data)
    torch.nn.utils.parametrize.remove_parametrizations(net[1], "weight")
    assert isinstance(box(net, data), nn.Module)


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_the_codes_of_a_deployed_model_are_those_of_the_weights_that_it_computes(wrap):
    net = nn.Sequential(nn.Flatten(), wrap(nn.Linear(400, 10)))
    quantized = bp.quantize(net, bp.Scheme(weight_bits=4, act_bits=32, first="same", last="same"))
    found = read_layers(quantized)
    assert not isinstance(found, str)
    codes = found[0].level / found[0].step
    torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-4)
    assert codes.abs().max() > 4


def test_quantized_training_of_a_pruned_network_says_that_it_fills_up():
    data = bp.load_data("digits", split="train", limit=4)
    net = nn.Sequential(nn.Flatten(), PRUNED(nn.Linear(400, 10)))
    with pytest.warns(UserWarning, match="prune what comes out again"):
        Quantization(scheme=bp.Scheme())(net, data, bp.Rng(0, np.zeros(1, np.int64)))
