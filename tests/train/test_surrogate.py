"""The surrogate of QAA: one network at several bit-widths, and images made on it for others."""

import numpy as np
import pytest
import torch

import bitproof as bp
from bitproof.attacks import PGD
from bitproof.conditions import Crafted
from bitproof.errors import InputError
from bitproof.leaderboard.entry import entries
from bitproof.train import CrossEntropy, SharedBits, Surrogate, standard
from bitproof.train.batches import Batch

RNG = bp.Rng(0, np.zeros(1, np.int64))


@pytest.fixture(scope="module")
def surrogate(model):
    recipe = standard(objective=SharedBits(), epochs=1, batch_size=64, optimizer="sgd", learning_rate=0.01)
    few = bp.load_data("digits", split="train", limit=128)
    return Surrogate(bits=(2, 4), calibration=64, recipe=recipe)(model, few, rng=RNG)


def test_copies_share_the_networks_parameters_and_nothing_else(surrogate, model):
    one, other = (dict(member.named_parameters()) for member in surrogate.members)
    shared = {name for name in one if one[name] is other[name]}
    assert len(shared) == len(list(model.parameters()))
    own = one.keys() - shared
    assert own and all("parametrizations" in name or "input_quantizer" in name for name in own)  # LSQ's steps
    changed = [not torch.equal(one[name], value) for name, value in model.named_parameters() if name in shared]
    assert any(changed) or any("original" in name for name in shared)


def test_its_logits_are_the_mean_and_its_loss_the_mean_of_losses(surrogate, data):
    images, labels = data.images(range(6)), torch.from_numpy(data.labels[:6])
    said = torch.stack([member(images) for member in surrogate.members])
    assert torch.allclose(surrogate(images), said.mean(0), atol=1e-6)
    batch = Batch(inputs=images, labels=labels, ids=np.arange(6), epoch=0, step=0, progress=0.0)
    loss, logits = SharedBits().start(surrogate)(surrogate, batch, RNG)
    each = [torch.nn.functional.cross_entropy(member, labels) for member in said]
    assert torch.allclose(loss, sum(each) / 2) and torch.allclose(logits, said.mean(0), atol=1e-6)
    with pytest.raises(InputError, match="a DigitsCNN|without members"):
        SharedBits().start(surrogate)(surrogate.members[0], batch, RNG)
    assert SharedBits().label == f"{CrossEntropy().label} of each bit-width"


def test_it_is_a_source_of_transfers(surrogate, models, data):
    given = Crafted(attack=PGD(eps=32 / 255, steps=5), source="surrogate")
    result = bp.evaluate({**models, "surrogate": surrogate}, data.take(20), transfer=[given], progress=False)
    moved = {c.model.name: c for c in result.cells if c.condition.kind == "transfer"}
    assert set(moved) == {"float", "w4a4", "surrogate"} and moved["w4a4"].condition.source == "surrogate"
    assert not moved["w4a4"].correct.all() and moved["surrogate"].model.weight_bits == 2
    origin = moved["surrogate"].model.origin
    assert (origin["surrogate"]["bits"], origin["parent"]) == ([2, 4], moved["float"].model.fingerprint)
    assert [entry.model.name for entry in entries(result.cells, {}, {})] == ["digits_cnn float", "digits_cnn w4a4"]


def test_one_bit_width_is_no_surrogate():
    with pytest.raises(InputError, match="a surrogate speaks for several bit-widths"):
        Surrogate(bits=(4, 4))
