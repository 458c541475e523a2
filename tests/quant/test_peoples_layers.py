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
