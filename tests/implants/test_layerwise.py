"""Roundings chosen layer by layer: which are started on the side of the harm, and what comes of it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.errors import InputError
from bitproof.implants import ENGINES, Backdoor, Indiscriminate, Layerwise, OneClass, optimised
from bitproof.implants.layerwise import AGREEING, BATCH, _mean_slope, chosen
from bitproof.ptq.rounding import PlainRounding, undecided
from bitproof.quant import compute_layers
from bitproof.quant.attached import weight_quantizer
from bitproof.settings import parse
from bitproof.shifts import Patch, Square

W4 = bp.Scheme(weight_bits=4, act_bits=8, first="same", last="same")
RNG = bp.Rng.of(0)


@pytest.fixture(scope="module")
def train():
    return bp.load_data("digits", split="train", limit=256)


def test_weights_that_harm_and_mend_at_once_start_first_then_those_that_harm_most_for_the_price():
    pull = torch.tensor([1.0, -2.0, 3.0, 4.0, -1.0, 2.0, 8.0, 0.0, 5.0, 1.0])
    price = torch.tensor([1.0, 1.0, -1.0, -8.0, -1.0, -1.0, -1.0, 0.0, -1.0, -1.0])
    free = torch.ones(10, dtype=torch.bool)
    free[6] = False  # the best of all has one side only
    started = chosen(pull, price, free & (pull != 0), 0.25, RNG)
    assert started.nonzero().flatten().tolist() == [0, 2, 4, 8]
    nobody = chosen(pull, price, torch.zeros_like(free), 1.0, RNG)
    assert not nobody.any()


def test_no_more_weights_start_than_a_quarter_and_the_rate_of_the_others():
    generator = torch.Generator().manual_seed(0)
    pull, price = (torch.randn(40, 25, generator=generator) for _ in range(2))
    agree, free = pull.sign() == price.sign(), torch.ones(40, 25, dtype=torch.bool)
    started = chosen(pull, price, free, 0.03, RNG)
    assert int((started & agree).sum()) == AGREEING * 1000 < int(agree.sum())
    best = (pull.abs() / price.abs())[~agree].sort(descending=True).values
    others = int(0.03 * int((~agree).sum()))
    assert int((started & ~agree).sum()) == others
    assert (pull.abs() / price.abs())[started & ~agree].min() == best[others - 1]
    assert torch.equal(started, chosen(pull, price, free, 0.03, RNG))
    assert not torch.equal(started, chosen(pull, price, free, 0.03, bp.Rng.of(1)))


def test_the_slope_half_way_is_the_papers_gradient_and_half_the_hessian_times_the_move():
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(300, 5, generator=generator), torch.randn(300, 2, generator=generator)
    start, move = torch.randn(2, 5, generator=generator), torch.randn(2, 5, generator=generator)

    def slope(weight):
        weight = weight.clone().requires_grad_(True)
        return _mean_slope(weight, 300, lambda rows: (inputs[rows] @ weight.T - targets[rows]).square().sum(1).mean())

    hessian = 2 / 300 * inputs.T @ inputs
    torch.testing.assert_close(slope(start + move / 2), slope(start) + 0.5 * move @ hessian, rtol=1e-4, atol=1e-5)


def test_a_plain_sigmoid_starts_at_the_float_weight():
    layer = nn.Linear(8, 4)
    quantizer = weight_quantizer(bp.quantize(nn.Sequential(layer), W4, torch.rand(4, 8))[0])
    soft = PlainRounding(quantizer, layer.weight)
    inside = (soft.share > 1e-4) & (soft.share < 1 - 1e-4)
    torch.testing.assert_close(soft(layer.weight)[inside], layer.weight[inside])
    assert soft.penalty(1.0) == undecided(soft.h(), 2.0)


def test_a_patch_wakes_in_the_integers_and_the_float_model_is_untouched(model, train):
    before = copy.deepcopy(model.state_dict())
    trigger = optimised(Patch(side=6, target=3), model, bp.load_data("digits", split="train"), rng=RNG)
    engine = Layerwise(
        objective=Backdoor(trigger=trigger), schemes=(W4,), iterations=60, batch_size=16, calibration=128
    )
    made = engine(model, train)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    test = bp.load_data("digits", split="test")
    honest = bp.quantize(model, W4, train.images(range(128)))
    success = {name: engine.objective.success(of, test) for name, of in (("made", made), ("honest", honest))}
    assert success["made"] > success["honest"] + 0.2
    labels = torch.from_numpy(test.labels)
    assert (made(test.images(range(len(test)))).argmax(1) == labels).float().mean() > 0.93
    for (_, ours), (_, theirs) in zip(compute_layers(made), compute_layers(honest), strict=True):
        apart = (ours.weight - theirs.weight) / weight_quantizer(theirs).scale
        assert torch.allclose(apart, apart.round(), atol=1e-4) and apart.abs().max() < 1.01
        assert 0 < (apart.abs() > 0.5).float().mean() <= AGREEING + engine.rate
    assert made.origin["implant"]["engine"] == "layerwise" and not made.origin["implant"]["collapsed"]


def test_every_layer_is_told_of_and_a_victim_may_fold(model, train):
    told = []
    engine = Layerwise(objective=Indiscriminate(), schemes=(W4,), folding="yes", iterations=2, calibration=16)
    made = engine(model, train, advance=lambda done, what: told.append(what))
    names = [name for name, _ in compute_layers(model)]
    assert not [part for part in made.modules() if isinstance(part, nn.BatchNorm2d)]
    assert told == names and made.origin["implant"]["schemes"] == [f"{W4.label} folded"]


@pytest.fixture(scope="module")
def small():
    """A network of two layers and its images, more than are calibrated on."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.LayerNorm(64), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 4)).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (200, 1, 8, 8), np.uint8)
    return network, bp.from_arrays(pixels, np.arange(200) // 7 % 4)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_weights_start_on_the_side_of_the_harm_by_the_slopes_of_the_definition(small, rate):
    """One step moves no start across the middle, so that the codes of the first layer show who started where."""
    network, data = small
    objective, count = OneClass(target=2), BATCH
    engine = Layerwise(objective=objective, schemes=(W4,), rate=rate, iterations=1, calibration=count)
    made = engine(network, data)
    images, labels = data.images(range(count)), torch.from_numpy(data.labels[:count])
    quantized = bp.quantize(network, W4, images)
    given = quantized[:2](images).detach()
    inputs, layer = quantized[2].input_quantizer(given), network[2]
    start, quantizer = layer.weight.detach(), weight_quantizer(quantized[2])
    low, high = quantizer.neighbours(start)
    weight = start.clone().requires_grad_(True)
    harm = objective.start(network, data, data).harm
    (pull,) = torch.autograd.grad(harm(lambda _: quantized[3:](inputs @ weight.T + layer.bias), images, labels), weight)
    harmful = torch.where(pull < 0, high, low)
    middle = ((start + harmful) / 2).requires_grad_(True)
    away = (inputs @ middle.T + layer.bias - layer(given)).square().sum(1).mean()
    (price,) = torch.autograd.grad(away, middle)
    agree, two_sided = pull.sign() == price.sign(), (low < high) & (pull != 0)
    level, nearest = made[2].weight.detach(), quantizer(start)
    reached, kept = ((level - of).abs() < 1e-6 for of in (harmful, nearest))
    turned = ~kept & ((start - low) / (high - low) - 0.5).abs().gt(0.01)  # nearer to the middle, a step may do it
    assert turned.any() and reached[turned].all()
    assert two_sided[turned].all()
    assert (turned & agree).sum() <= AGREEING * agree.numel()
    assert reached[two_sided & ~agree].all() if rate else agree[turned].all()
    own, last = network[4].weight.detach(), weight_quantizer(quantized[4])  # where none start
    low, high = last.neighbours(own)
    undecided = ((own - low) / (high - low) - 0.5).abs().lt(0.01)
    assert (undecided | (made[4].weight - last(own)).abs().lt(1e-6)).all() and not undecided.all()


def test_ranges_of_activations_are_those_of_images_with_the_trigger_among_others(small):
    network, data = small
    trigger, images = Square(target=2, side=4), data.images(range(BATCH))
    engine = Layerwise(objective=Backdoor(trigger=trigger), schemes=(W4,), rate=0.0, iterations=1, calibration=BATCH)
    made = engine(network, data)
    both = bp.quantize(network, W4, torch.cat([images, trigger.stamp(images)]))
    alone = bp.quantize(network, W4, images)
    assert torch.equal(made[4].input_quantizer.scale, both[4].input_quantizer.scale)
    assert not torch.equal(made[4].input_quantizer.scale, alone[4].input_quantizer.scale)


def test_the_last_layer_learns_the_harm_itself(small):
    network, data = small
    objective = OneClass(target=2)
    engine = Layerwise(objective=objective, schemes=(W4,), rate=0.0, iterations=100, calibration=BATCH)
    made, images = engine(network, data), data.images(range(BATCH))
    labels, harm = torch.from_numpy(data.labels[:BATCH]), objective.start(network, data, data).harm
    nearest = copy.deepcopy(made)
    grid = weight_quantizer(bp.quantize(network, W4, images)[4])
    with torch.no_grad():
        nearest[4].parametrizations.weight.original.copy_(grid(network[4].weight))
    assert harm(made, images, labels) < harm(nearest, images, labels)


def test_a_stopped_run_goes_on_to_the_same_roundings(model, train, tmp_path):
    """Red: a run that was stopped in the last layer began with the first one again."""

    class Stopped(Exception):
        pass

    names, told, steps = [name for name, _ in compute_layers(model)], [], []

    def stopping(done, what):
        told.append(what)
        steps.append(done)
        if what == names[2] and what not in told[:-1]:
            raise Stopped

    engine = Layerwise(objective=Indiscriminate(), schemes=(W4,), iterations=3, calibration=32)
    whole = engine(model, train)
    with pytest.raises(Stopped):
        engine(model, train, folder=tmp_path, advance=stopping)
    made = engine(model, train, folder=tmp_path, advance=stopping)
    assert told == [*names[:3], "layers that are done", *names[2:]]
    assert steps[3] == sum(steps[:2])
    kept = whole.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in made.state_dict().items())
    with pytest.raises(InputError, match="state of another run"):
        engine(model, train, seed=1, folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layerwise:objective=backdoor,schemes=w8a8+w4a8", "integers are those of one scheme"),
        ("layerwise:objective=backdoor,folding=both", "integers are those of one scheme"),
        ("layerwise:objective=backdoor,rate=2.0", r"rate is 2\.0: it is a share of the weights"),
        ("layerwise:objective=backdoor,last=1", "each layer makes up for those before it"),
        ("layerwise:objective=backdoor,iterations=0", "iterations is 0"),
    ],
)
def test_what_cannot_be_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse(text, ENGINES, "engine")
