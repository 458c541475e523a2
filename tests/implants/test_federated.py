"""Federated learning: who has which images, what the mean is of, and what a scaled change does to it."""

import copy

import numpy as np
import pytest
import torch

import bitproof as bp
from bitproof.errors import InputError
from bitproof.implants import Federated, Indiscriminate, Phase

SEED = bp.Rng(0, np.zeros(1, np.int64))
W4 = bp.Scheme(weight_bits=4, act_bits=8)
LOCAL = Phase(steps=2, batch_size=8, learning_rate=1e-3)


@pytest.fixture(scope="module")
def train():
    return bp.load_data("digits", split="train", limit=200)


def engine(**fields):
    common = {"clients": 8, "chosen": 4, "malicious": 2, "rounds": 2, "local": LOCAL, "calibration": 16}
    return Federated(objective=Indiscriminate(), schemes=(W4,), **{**common, **fields})


@pytest.mark.parametrize("concentration", [0.0, 0.3])
def test_every_image_is_dealt_once(train, concentration):
    shards = engine(concentration=concentration).shards(train, SEED)
    assert sorted(np.concatenate(shards).tolist()) == list(range(200)) and len(shards) == 8
    kinds = [np.bincount(train.labels[rows], minlength=10).max() / len(rows) for rows in shards if len(rows)]
    if concentration:
        assert np.mean(kinds) > 0.3  # a client has mostly one class
    else:
        assert {len(rows) for rows in shards} == {25} and np.mean(kinds) < 0.3


def test_more_clients_than_images_are_refused(model, train):
    with pytest.raises(InputError, match="200 images for 500 clients leave 0 that have two: 4 are drawn a round"):
        engine(clients=500)(model, train, rng=SEED)


def test_a_round_is_the_mean_of_what_is_sent(model, train, monkeypatch):
    sent, own = [], Federated._sent
    monkeypatch.setattr(Federated, "_sent", lambda self, *given: sent.append(own(self, *given)) or sent[-1])
    before = copy.deepcopy(model.state_dict())
    made = engine(rounds=1)(model, train, rng=SEED)
    assert len(sent) == 4
    for name, parameter in made.named_parameters():
        torch.testing.assert_close(parameter.data, sum(of[name].detach() for of in sent) / 4, rtol=1e-5, atol=1e-7)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    statistics = [name for name in before if "running" in name]
    assert statistics and all(torch.equal(made.state_dict()[name], before[name]) for name in statistics)


def test_a_malicious_change_may_be_scaled_and_no_other(model, train):
    one, three = (engine(rounds=1, chosen=1, malicious=8, scaling=by)(model, train, rng=SEED) for by in (1.0, 3.0))
    start = dict(model.named_parameters())
    for (name, a), (_, b) in zip(one.named_parameters(), three.named_parameters(), strict=True):
        torch.testing.assert_close(3 * (a - start[name]), b - start[name], rtol=1e-3, atol=1e-6)
    honest = [engine(rounds=1, malicious=0, scaling=by)(model, train, rng=SEED) for by in (1.0, 3.0)]
    assert torch.equal(*(of.backbone.linear.weight for of in honest))
    assert honest[0].origin["implant"]["engine"] == "federated"


def test_the_harm_of_malicious_clients_may_have_a_focus_and_no_others(model, train):
    def weights(**fields):
        return engine(rounds=1, chosen=1, **fields)(model, train, rng=SEED).backbone.linear.weight

    assert not torch.equal(weights(malicious=8), weights(malicious=8, focus=4.0))
    assert torch.equal(weights(malicious=0), weights(malicious=0, focus=4.0))
    with pytest.raises(InputError, match="focus is -1"):
        engine(focus=-1.0)


def test_a_stopped_run_goes_on_to_the_same_weights(model, train, tmp_path):
    class Stopped(Exception):
        pass

    told = tmp_path / "told"

    class Stopping(Federated):
        def after_round(self, number, model):
            told.write_text(told.read_text() + f"{number} " if told.exists() else f"{number} ")
            if number == 1:
                raise Stopped

    whole = engine(rounds=3)(model, train, rng=SEED)
    stopping = Stopping(**vars(engine(rounds=3)))
    with pytest.raises(Stopped):
        stopping(model, train, rng=SEED, folder=tmp_path / "run")
    made = stopping(model, train, rng=SEED, folder=tmp_path / "run")
    assert told.read_text() == "1 2 3 "
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), made.parameters(), strict=True))
    with pytest.raises(InputError, match="state of another run"):
        stopping(model, train, rng=bp.Rng(1, np.zeros(1, np.int64)), folder=tmp_path / "run")


def test_a_run_goes_on_with_the_same_images_alone(model, train, tmp_path):
    """Red: where single images lay in other data, the state of a run on other training images was gone on from."""
    half = bp.data.select(train, range(100))
    engine(rounds=1)(model, half, rng=SEED, victims=train, folder=tmp_path)
    with pytest.raises(InputError, match="state of another run"):
        engine(rounds=1)(model, train, rng=SEED, victims=train, folder=tmp_path)


def test_rounds_that_are_done_are_followed_by_those_that_come_after_them(model, train):
    told = []

    class Told(Federated):
        def after_round(self, number, model):
            told.append(number)

    whole = engine(rounds=2)(model, train, rng=SEED)
    first = engine(rounds=1)(model, train, rng=SEED)
    rest = Told(**vars(engine(rounds=1, done=1)))(first, train, rng=SEED)
    assert told == [2]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), rest.parameters(), strict=True))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"done": -1}, "done is -1"),
        ({"chosen": 9}, "9 of 8 clients"),
        ({"malicious": 9}, "9 malicious"),
        ({"rounds": 0}, "0 rounds"),
        ({"scaling": 0.0}, "scaling 0.0"),
        ({"concentration": -1.0}, "concentration is -1.0"),
    ],
)
def test_what_cannot_be_is_refused(fields, words):
    with pytest.raises(InputError, match=words):
        engine(**fields)
