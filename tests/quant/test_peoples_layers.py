"""Layers as people have them: heads that start at zero, weights that hooks compute, other precisions."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import prune, spectral_norm, weight_norm

import bitproof as bp
from bitproof.errors import InputError
from bitproof.quant.methods import METHODS

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
