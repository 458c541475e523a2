"""Inquiries on the digits: what they say of clean models, of implants with known answers, and of odd ones."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.audit import Case, Disparity, Pair, Phases, Sharpness, Specialness
from bitproof.audit.specialness import SMALLEST
from bitproof.audit.strange import in_turn
from bitproof.core.copying import copied
from bitproof.implants import Indiscriminate, Phase, Rounding
from bitproof.quant import compute_layers
from bitproof.records import CLEAN, SUSPICIOUS, UNDECIDED

RNG = bp.Rng(0, np.zeros(1, np.int64))
W4 = bp.Scheme(weight_bits=4, act_bits=8)
QUICK = Specialness(draws=19, enough=3, level=0.05, images=40)


@pytest.fixture(scope="module")
def train():
    return bp.load_data("digits", split="train", limit=256)


@pytest.fixture(scope="module")
def case(data, train):
    return partial(Case.of, data=data, calibration=train)


def made(model, train, shipped):
    choice = Phase(steps=12, learning_rate=0.15, schedule="constant")
    engine = Rounding(objective=Indiscriminate(), schemes=(W4,), shipped=shipped, choice=choice, repair=Phase(steps=6))
    return engine(model, train, rng=RNG)


@pytest.fixture(scope="module")
def integers(model, train):
    return made(model, train, "integers")


@pytest.fixture(scope="module")
def checkpoint(model, train):
    return made(model, train, "checkpoint")


@pytest.mark.parametrize("inquiry", [Phases(), QUICK], ids=["phases", "specialness"])
def test_a_clean_model_is_clean_and_is_left_as_it_was(case, model, inquiry):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = inquiry(case(model, schemes=(W4,)), rng=RNG)
    assert found.says == CLEAN and found.key == inquiry.key(case(model, schemes=(W4,)), seed=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_specialness_finds_a_chosen_rounding_and_what_carries_it(case, checkpoint):
    found = QUICK(case(checkpoint, schemes=(W4,)), rng=RNG)
    assert found.says == SUSPICIOUS and found.score > 10
    assert (found.named.scheme, found.named.bits, found.named.axis) == (W4.label, 4, "weights")
    assert found.readings[0].p_value == found.readings[0].floor == 1 / 20
    assert found.forwards <= QUICK.passes(case(checkpoint, schemes=(W4,)))  # or bars go beyond their end
    assert {"weights, dither", "weights, grid shift"} <= {reading.axis for reading in found.readings}


def test_what_is_asked_after_specialness_finds_no_coins(case, model, data):
    one, images = case(model, schemes=(W4,)), data.images(range(8))
    QUICK(one, rng=RNG)
    (form,) = one.forms
    with torch.no_grad():
        assert torch.equal(form.wear({})(images), form.model(images))


def test_what_so_few_images_could_not_show_is_undecided(case, model):
    few = partial(Case.of, model, calibration=bp.load_data("digits", split="train", limit=16), schemes=(W4,))
    for count in (1, 8):
        found = QUICK(few(bp.load_data("digits", limit=count)), rng=RNG)
        assert found.says == UNDECIDED and "images to tell" in found.sentence
        wanted = int(found.sentence.split("it takes about ")[1].split()[0])
        smallest = next(reading for reading in found.readings if reading.statistic == SMALLEST)
        assert wanted == round(4 * smallest.value * count) > count and smallest.p_value == 0.05
    assert "images to tell" not in QUICK(few(bp.load_data("digits", limit=40)), rng=RNG).sentence


def test_strange_images_are_marked_at_every_corner():
    images = torch.full((64, 1, 20, 20), 0.5)
    images[:, :, 10, 10] = 0.75
    bright = in_turn(images, RNG)[-16:, 0] == 0.75
    assert [int(bright[:, row, column].sum()) for row in (1, -2) for column in (1, -2)] == [3, 3, 3, 3]


def test_phases_find_it_too_and_name_the_bits(case, checkpoint):
    found = Phases()(case(checkpoint, schemes=(bp.Scheme(act_bits=32), W4)), rng=RNG)
    assert found.says == SUSPICIOUS and found.named.bits == 4 and found.forwards == 0


def test_answers_depend_on_no_batch_size_and_labels_are_not_needed(case, model):
    one, other = (QUICK(case(model, schemes=(W4,), labelled=False, batch_size=size), rng=RNG) for size in (7, 64))
    assert [r.statistic for r in one.readings] == [r.statistic for r in other.readings]
    assert [r.value for r in one.readings] == pytest.approx([r.value for r in other.readings], rel=1e-4, abs=1e-6)
    assert any("other answers than float's" in r.statistic for r in one.readings)


def test_a_model_on_the_grid_has_nothing_to_round(case, model, train):
    on_grid = copied(model)
    on_grid.load_state_dict(bp.freeze(bp.quantize(model, bp.Scheme(weight_bits=8, act_bits=32), train)).state_dict())
    one = case(on_grid, schemes=(bp.Scheme(weight_bits=8, act_bits=32),))
    assert "moves no weight" in QUICK(one, rng=RNG).sentence
    assert "no phases" in Phases()(one, rng=RNG).sentence


def test_an_honest_copy_is_what_it_claims_to_be(case, model, train):
    copy = bp.quantize(model, W4, train)
    found = Pair()(case(model, schemes=(), deployed=copy), rng=RNG)
    assert found.says == CLEAN and "0.00% of" in found.sentence and found.forwards == 0
    form = bp.deploy.integer_form(bp.quantize(model, bp.Scheme(), train), train)
    assert Pair()(case(model, schemes=(), deployed=form), rng=RNG).says == CLEAN


def test_codes_that_were_chosen_for_harm_are_found(case, model, integers):
    found = Pair(draws=19, level=0.05, images=20)(case(model, schemes=(), deployed=integers), rng=RNG)
    assert found.says == SUSPICIOUS and found.named.scheme == "deployed"
    special = QUICK(case(model, schemes=(), deployed=integers), rng=RNG)
    assert special.says == SUSPICIOUS and special.named.scheme == "deployed"


def test_codes_that_were_turned_at_random_serve_no_purpose(case, model, train):
    copy = bp.quantize(model, W4, train)
    generator = torch.Generator().manual_seed(0)
    for _, layer in compute_layers(copy):
        weights = layer.parametrizations.weight
        weight, step = weights.original.data, weights[0].scale
        turned = torch.rand(weight.shape, generator=generator) < 0.1
        low, high = (weights[0](end) for end in weights[0].neighbours(weight))
        weight.copy_(torch.where(turned, torch.where(weights[0](weight) == low, high, low), weight))
        assert step.numel()
    found = Pair(draws=19, level=0.05, images=20)(case(model, schemes=(), deployed=copy), rng=RNG)
    assert found.says in (UNDECIDED, SUSPICIOUS) and found.readings[-2].value == pytest.approx(0.1, abs=0.02)


def test_another_model_is_no_rounding_of_this_one(case, model, train):
    other = bp.load_model("digits_cnn", seed=5)
    found = Pair()(case(model, schemes=(), deployed=bp.quantize(other, W4, train)), rng=RNG)
    assert found.says == UNDECIDED and "not those of the float model" in found.sentence
    moved = bp.quantize(model, W4, train)
    for _, layer in compute_layers(moved):
        layer.parametrizations.weight.original.data.mul_(1.2)
        layer.parametrizations.weight[0].scale.mul_(1.2)
    found = Pair()(case(model, schemes=(), deployed=moved), rng=RNG)
    assert found.says == UNDECIDED and "no rounding of them" in found.sentence


def test_disparity_and_sharpness_are_numbers_to_read_beside_others(case, model):
    one = case(model, schemes=(W4,))
    for inquiry in (Disparity(images=20), Sharpness(directions=3, images=10)):
        found = inquiry(one, rng=RNG)
        assert found.says is None and found.readings and np.isfinite(found.score)
    broken = nn.Sequential(nn.Flatten(), nn.Linear(400, 10))
    with torch.no_grad():  # one huge weight, which no image sees, widens the grid until all others are rounded away
        broken[1].weight[:, 0] = 1e4
    found = Disparity(images=20)(case(broken, schemes=(bp.Scheme(last="same", first="same"),)), rng=RNG)
    assert found.says == UNDECIDED and "seldom break an honest model" in found.sentence


def test_an_audit_starts_from_a_float_model(case, model, train):
    with pytest.raises(bp.InputError, match="starts from the float model"):
        case(bp.quantize(model, W4, train), schemes=(W4,))
    with pytest.raises(bp.InputError, match="nearest code of a fixed grid"):
        _ = case(model, schemes=(bp.Scheme("dorefa", weight_bits=4, act_bits=4),)).forms
    with pytest.raises(bp.InputError, match="has to reach the level"):
        Specialness(draws=9, level=0.01)


class Functional(nn.Module):
    """A convolution whose weight is a parameter of its own, attention and a recurrent layer, before one layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.kernel = nn.Parameter(torch.randn(1, 1, 3, 3))
        self.attention = nn.MultiheadAttention(20, 2, batch_first=True)
        self.memory = nn.LSTM(20, 4, batch_first=True)
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        x = nn.functional.conv2d(x, self.kernel, padding=1)[:, 0]
        x, _ = self.attention(x, x, x, need_weights=False)
        return self.head(self.memory(x)[0][:, -1])


def test_what_no_quantizer_takes_is_listed(case, train):
    one = case(Functional().eval(), schemes=(W4, bp.Scheme()))
    left = {part.name: part for part in one.unaudited}
    assert {"", "attention", "memory"} <= left.keys() and "head" not in left
    assert left[""].weights == 9 and left["memory"].schemes == (W4.label, bp.Scheme().label)
    assert "weights of a LSTM" in left["memory"].reason
    assert 0.7 < sum(part.share for part in left.values()) < 1  # the projection out of attention is a layer
    with pytest.raises(bp.InputError, match="rounds no weight of this model"):
        _ = case(
            Functional().eval(), schemes=(bp.Scheme.parse("affine:w4a8,layers=head=w32a8+attention*=w32a8"),)
        ).forms


def test_of_what_is_deployed_the_layers_without_codes_are_listed(case, model, train):
    copy = bp.quantize(model, bp.Scheme.parse("affine:w4a8,last=float"), train)
    (left,) = case(model, schemes=(), deployed=copy).unaudited
    assert left.name == "backbone.linear" and left.schemes == ("deployed",) and "no codes" in left.reason
    assert not case(model, schemes=(W4,)).unaudited
