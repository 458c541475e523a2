"""Attacks without a budget, and those that only ask: against the known minimum of linear models."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from bitproof.attacks import APGD, CW, DDN, EOT, FAB, FMN, PGD, SPSA, ZOO, DeepFool, HopSkipJump, Noise
from bitproof.attacks.constants import Constants
from bitproof.attacks.goal import Goal
from bitproof.attacks.nearest import Nearest
from bitproof.core.balls import BALLS
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.core.ste import round_ste
from bitproof.errors import InputError
from closed_form import LinearTwoClass

SMALL_CW = CW(steps=50, search_steps=6)
EXACT = [  # attack, and how many times the optimum its answer may be
    (SMALL_CW, 1.02),
    (CW(steps=50, search_steps=6, learning_rate=0.03, initial_constant=1e-2), 1.02),
    (DDN(), 1.005),
    (FMN(norm="l2"), 1.001),
    (FMN(norm="linf"), 1.001),
    (FMN(norm="l1"), 1.001),
    (DeepFool(norm="l2"), 1.021),
    (DeepFool(norm="linf"), 1.021),
    (ZOO(search_steps=4, steps=40, coordinates=36, learning_rate=0.02), 1.05),
    (HopSkipJump(norm="l2", queries=4000), 1.03),
    (HopSkipJump(norm="linf", queries=4000), 1.5),
]


@pytest.fixture
def linear():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(1, 6, 6, generator=generator)
    return LinearTwoClass(weight.sign() * (0.8 + 0.2 * weight.abs().clamp(max=1)), offset=1.5).eval()


@pytest.fixture
def inputs():
    return 0.46 + 0.08 * torch.rand(4, 1, 6, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def keys():
    return Rng(0, np.arange(4))


class Answers:
    """A model that only answers, as a session of a runtime does."""

    def __init__(self, model):
        self.model_without_gradient = model

    def __call__(self, x):
        assert not x.requires_grad
        return torch.from_numpy(self.model_without_gradient(x).detach().numpy().copy())


def network(classes=4, shape=(1, 6, 6)):
    torch.manual_seed(0)
    size = math.prod(shape)
    return nn.Sequential(nn.Flatten(), nn.Linear(size, 24), nn.ReLU(), nn.Linear(24, classes)).eval()


@pytest.mark.parametrize(("attack", "factor"), EXACT, ids=lambda v: getattr(v, "label", None))
def test_a_linear_model_gives_the_known_minimum(attack, factor, linear, inputs, keys):
    labels = linear(inputs).argmax(1)
    adversarial = attack(linear, inputs, labels, rng=keys)
    assert (linear(adversarial).argmax(1) != labels).all()
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    distance = BALLS[attack.norm].norm(adversarial - inputs)
    optimum = linear.distance(inputs, attack.norm)
    assert (distance >= optimum * (1 - 1e-4)).all()
    assert (distance <= optimum * factor).all(), distance / optimum


@pytest.mark.parametrize("build", [CW, DDN, FMN, DeepFool, ZOO, HopSkipJump])
def test_a_finite_eps_bounds_what_is_returned(build, linear, inputs, keys):
    labels = linear(inputs).argmax(1)
    optimum = linear.distance(inputs, "l2")
    small = {CW: {"search_steps": 2, "steps": 30}, ZOO: {"search_steps": 2, "steps": 20}, HopSkipJump: {"queries": 800}}
    small = small.get(build, {})
    eps = 0.9 * optimum.min().item()
    adversarial = build(eps=eps, **small)(linear, inputs, labels, rng=keys)
    assert ((adversarial - inputs).flatten(1).norm(dim=1) <= eps * (1 + 1e-6)).all()
    assert (linear(adversarial).argmax(1) == labels).all()


@pytest.mark.parametrize("attack", [SMALL_CW, DDN(), FMN(), FMN(norm="linf"), FMN(norm="l1")], ids=lambda a: a.label)
def test_targets_are_reached(attack, inputs, keys):
    model = network()
    labels = model(inputs).argmax(1)
    targets = (labels + 2) % 4
    adversarial = attack(model, inputs, labels, targets=targets, rng=keys)
    assert (model(adversarial).argmax(1) == targets).all()


@pytest.mark.parametrize(
    "attack",
    [SPSA(eps=0.4, steps=40), ZOO(search_steps=2, steps=50, coordinates=36), HopSkipJump(queries=3000, tries=500)],
    ids=lambda a: a.label,
)
def test_targets_are_reached_by_asking(attack, inputs, keys):
    model = network(classes=3)
    labels = model(inputs).argmax(1)
    targets = model(torch.rand(200, 1, 6, 6)).argmax(1).bincount(minlength=3).argsort()[-2:]
    targets = torch.where(labels == targets[0], targets[1], targets[0])
    adversarial = attack(Answers(model), inputs, labels, targets=targets, rng=keys)
    assert (model(adversarial).argmax(1) == targets).float().mean() >= 0.75


# ---- known divergences of other libraries ------------------------------------------------------------------


def test_cw_moves_pixels_at_the_edges_of_the_box(keys):
    linear = LinearTwoClass(torch.full((1, 6, 6), 1.0), offset=-1.0).eval()
    inputs = torch.zeros(4, 1, 6, 6)
    inputs[:, :, :, :4] = 1.0
    labels = linear(inputs).argmax(1)
    adversarial = SMALL_CW(linear, inputs, labels, rng=keys)
    assert (linear(adversarial).argmax(1) != labels).all()


@pytest.mark.parametrize("attack", [SMALL_CW, DDN(), FMN(), DeepFool()], ids=lambda a: a.label)
def test_shifted_logits_change_nothing(attack, linear, inputs, keys):
    # masking logits by a product with 0 would break an attack on a model whose logits are all negative
    labels = linear(inputs).argmax(1)
    plain = attack(linear, inputs, labels, rng=keys)
    shifted = attack(lambda x: linear(x) - 20, inputs, labels, rng=keys)
    a, b = (BALLS["l2"].norm(v - inputs) for v in (plain, shifted))
    torch.testing.assert_close(a, b, rtol=0.01, atol=0)


@pytest.mark.parametrize("attack", [CW(steps=5), DDN(steps=5), FMN(steps=5), DeepFool(steps=2), ZOO(steps=2)])
def test_where_nothing_is_found_the_image_comes_back(attack, inputs, keys):
    adversarial = attack(
        lambda x: torch.tensor([[9.0, 0.0]]).repeat(len(x), 1) + 0 * x.sum((1, 2, 3))[:, None],
        inputs,
        torch.zeros(4, dtype=torch.long),
        rng=keys,
    )
    assert torch.equal(adversarial, inputs)


@pytest.mark.parametrize("steps", [1, 3, 9])
def test_cw_takes_few_steps_without_complaint(steps, linear, inputs, keys):
    CW(steps=steps, search_steps=2)(linear, inputs, linear(inputs).argmax(1), rng=keys)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, 2),
        ({"learning_rate": 0.1}, 2),
        ({"initial_constant": 0.9}, 2),
        ({"learning_rate": 0.1, "initial_constant": 0.9}, 1),
    ],
)
def test_cw_asks_for_a_linear_model_only_where_it_needs_one(given, asked, linear, inputs, keys):
    counted = Counted(linear)
    CW(steps=1, search_steps=1, **given)(counted, inputs, linear(inputs).argmax(1), rng=keys)
    assert counted.forwards == counted.backwards == asked * len(inputs)


def test_cw_is_done_once_its_bounds_are_close(linear, inputs, keys):
    counted, attack = Counted(linear), CW()
    attack(counted, inputs, linear(inputs).argmax(1), rng=keys)
    assert counted.forwards + counted.backwards < attack.passes * len(inputs) / 2


def test_cw_keeps_its_confidence(linear, inputs, keys):
    labels = linear(inputs).argmax(1)
    logits = linear(CW(kappa=2.0, steps=50, search_steps=6)(linear, inputs, labels, rng=keys))
    margin = (logits[:, 1] - logits[:, 0]) * torch.where(labels == 1, -1, 1)
    assert (margin >= 2 - 1e-4).all()
    assert (margin <= 2.2).all()


def test_an_easy_example_does_not_stop_a_hard_one(keys):
    # abort-early is decided example by example
    linear = LinearTwoClass(torch.full((1, 6, 6), 1.0), offset=0.0).eval()
    inputs = torch.cat([torch.full((2, 1, 6, 6), 0.51), torch.full((2, 1, 6, 6), 0.8)])
    labels = linear(inputs).argmax(1)
    adversarial = SMALL_CW(linear, inputs, labels, rng=keys)
    distance = BALLS["l2"].norm(adversarial - inputs)
    assert (distance[2:] <= 1.05 * linear.distance(inputs, "l2")[2:]).all()


def test_spsa_estimates_the_gradient_of_a_linear_model(linear, inputs, keys):
    labels = torch.ones(4, dtype=torch.long)
    estimate = SPSA(samples=8000)._estimate(linear, Goal(labels), inputs, keys)
    torch.testing.assert_close(estimate, -linear.weight.detach().expand_as(estimate), atol=0.5, rtol=0)
    assert (estimate.mean(0) + linear.weight).abs().mean() < 0.1


def test_spsa_reaches_its_targets_only_when_targeted(inputs, keys):
    model = network()
    labels = model(inputs).argmax(1)
    attack = SPSA(eps=0.5, steps=60, learning_rate=0.05)
    free = model(attack(model, inputs, labels, rng=keys)).argmax(1)
    led = 0
    for shift in (1, 2, 3):
        targets = (labels + shift) % 4
        led += int((model(attack(model, inputs, labels, targets=targets, rng=keys)).argmax(1) == targets).sum())
    assert (free != labels).all()
    assert led > len(labels)  # without targets, the three shifts together are reached once an example


@pytest.mark.parametrize(
    ("attack", "queries"),
    [
        (SPSA(eps=1e-4, steps=5, samples=16), 5 * 17),
        (ZOO(steps=4, coordinates=8, search_steps=2), 2 * 4 * 17),
        (ZOO(steps=4, coordinates=8, search_steps=2, queries=100), 85),
        (Noise(eps=1e-4, draws=7), 6),
    ],
)
def test_queries_are_what_the_setting_says(attack, queries, linear, inputs, keys):
    counted = Counted(linear)
    attack(counted, inputs, linear(inputs).argmax(1), rng=keys)
    assert counted.forwards == 4 * queries


@pytest.mark.parametrize("queries", [100, 300, 1000])
def test_hopskipjump_keeps_its_budget(queries, linear, inputs, keys):
    counted = Counted(linear)
    HopSkipJump(queries=queries)(counted, inputs, linear(inputs).argmax(1), rng=keys)
    assert counted.forwards <= 4 * queries


# ---- parts -------------------------------------------------------------------------------------------------


def test_constants_rise_then_narrow():
    c = Constants.start(torch.tensor([1.0, 1.0]))
    seen = []
    for found in ([False, True], [False, True], [True, False], [True, True]):
        seen.append(c.now.tolist())
        c = c.narrow(torch.tensor(found))
    expected = [[1, 1], [10, 0.1], [100, 0.01], [1000**0.5, 1000**-0.5]]
    torch.testing.assert_close(torch.tensor(seen), torch.tensor(expected))


def test_the_nearest_hit_is_kept():
    nearest = Nearest.none_yet(torch.zeros(2, 1, 1, 2), "linf")
    assert not nearest.found.any()
    for size, hit in ((0.5, True), (0.2, False), (0.3, True), (0.4, True)):
        nearest.offer(torch.full((1, 1, 1, 2), size), torch.tensor([hit]), torch.tensor([1]))
    assert nearest.distances.tolist() == [math.inf, pytest.approx(0.3)]
    assert nearest.images[1].flatten().tolist() == pytest.approx([0.3, 0.3])
    assert nearest.within(0.1).flatten().tolist() == pytest.approx([0, 0, 0.1, 0.1])


def test_eot_follows_the_expectation(linear, inputs, keys):
    generator = torch.Generator().manual_seed(0)

    def noisy(x):
        return linear(x + 0.05 * torch.randn(x.shape, generator=generator))

    labels = linear(inputs).argmax(1)
    eps = 1.3 * linear.distance(inputs, "linf").max().item()
    attack = EOT(attack=PGD(eps=eps, steps=10), draws=30)
    assert (attack.norm, attack.eps, attack.passes) == ("linf", eps, 600)
    counted = Counted(noisy)
    attack(counted, inputs, labels, rng=keys)
    assert counted.forwards % 30 == 0
    adversarial = EOT(attack=PGD(eps=eps, steps=10), draws=30)(noisy, inputs, labels, rng=keys)
    assert (linear(adversarial).argmax(1) != labels).float().mean() >= 0.75


# ---- mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "fields", "words"),
    [
        (CW, {"kappa": -1.0}, "kappa is -1"),
        (CW, {"steps": 0}, "steps is 0: CW takes a whole number, 1 at least"),
        (CW, {"eps": -0.1}, "eps is -0.1"),
        (CW, {"learning_rate": 0.0}, "learning_rate is 0.*positive"),
        (DDN, {"gamma": 1.5}, "gamma is 1.5"),
        (FMN, {"gamma": 1.0}, "gamma is 1"),
        (FMN, {"norm": "l3"}, "unknown norm 'l3'"),
        (FMN, {"norm": "linf", "eps": 8.0}, "eps is 8 under linf.*0-255 scale"),
        (DeepFool, {"norm": "l1"}, "unknown norm of DeepFool 'l1'"),
        (HopSkipJump, {"norm": "l1"}, "unknown norm of HopSkipJump"),
        (SPSA, {"samples": 3}, "samples is 3.*pairs"),
        (SPSA, {"eps": 8.0}, "0-255 scale"),
        (ZOO, {"queries": 0}, "queries is 0"),
        (ZOO, {"kappa": -1.0}, "kappa is -1"),
        (ZOO, {"kappa": math.nan}, "kappa is nan"),
        (CW, {"kappa": math.inf}, "kappa is inf"),
        (APGD, {"rho": 1.5}, "rho is 1.5.*between 0 and 1"),
        (FAB, {"beta": -1.0}, "beta is -1"),
        (FAB, {"alpha_max": math.nan}, "alpha_max is nan"),
        (FAB, {"eta": 0.0}, "eta is 0.*positive"),
        (Noise, {"draws": 0}, "draws is 0"),
        (PGD, {"restarts": 0}, "restarts is 0"),
        (PGD, {"restarts": 2, "start": "image"}, "restarts is 2, from the 'image' start"),
        (PGD, {"momentum": -1.0}, "momentum is -1"),
        (EOT, {"attack": PGD(), "draws": 0}, "draws is 0"),
    ],
)
def test_mistakes_in_settings_are_explained(build, fields, words):
    with pytest.raises(InputError, match=words):
        build(**fields)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_deepfool_gives_up_where_no_gradient_moves_an_image(norm, keys):
    linear = LinearTwoClass(torch.ones(1, 6, 6), offset=0.1)

    class Flat(nn.Module):
        def forward(self, x):
            return linear((16 * x).round() / 16)

    inputs = torch.full((4, 1, 6, 6), 0.75)
    counted = Counted(Flat().eval())
    with pytest.warns(UserWarning, match="gradient is zero for most images"):
        unmoved = DeepFool(norm=norm)(counted, inputs, torch.ones(4, dtype=torch.long), rng=keys)
    assert torch.equal(unmoved, inputs) and (counted.forwards, counted.backwards) == (4, 4)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_deepfool_leaves_the_cells_of_a_quantized_model(norm, keys):
    # The first step ends in a cell whose logits all but tie: by its slope the boundary is a hair away, and is not.
    linear = LinearTwoClass(torch.ones(1, 6, 6), offset=36e-5)

    class Rounded(nn.Module):
        def forward(self, x):
            return linear(round_ste(16 * x) / 16)

    inputs = torch.full((4, 1, 6, 6), 0.5 + 3 / 16)
    adversarial = DeepFool(norm=norm)(Rounded().eval(), inputs, torch.ones(4, dtype=torch.long), rng=keys)
    assert not linear(round_ste(16 * adversarial) / 16).argmax(1).any()
    nearest = BALLS[norm].norm(torch.full_like(inputs, 3.5 / 16))
    assert (BALLS[norm].norm(adversarial - inputs) <= 1.02 * nearest).all()


@pytest.mark.parametrize("attack", [CW(steps=2, search_steps=1), DDN(steps=2), FMN(steps=2)])
def test_a_gradient_of_zero_is_warned_of_by_those_that_look_for_the_nearest_image(attack, keys):
    linear = LinearTwoClass(torch.ones(1, 6, 6), offset=0.1)
    inputs = torch.full((4, 1, 6, 6), 0.75)
    with pytest.warns(UserWarning, match="gradient is zero for most images"):
        attack(lambda x: linear((16 * x).round() / 16), inputs, torch.ones(4, dtype=torch.long), rng=keys)
