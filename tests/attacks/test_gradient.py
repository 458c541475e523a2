import dataclasses

import pytest
import torch
from torch import nn

from bitproof.attacks import BIM, CW, FGSM, FMN, MIFGSM, PGD, RFGSM, SPSA, ZOO, MadryPGD, Noise, UnitStepPGD
from bitproof.core.balls import BALLS
from bitproof.core.passes import Counted
from bitproof.errors import InputError
from closed_form import LinearTwoClass

NORMS = ["linf", "l2", "l1"]


@pytest.fixture
def linear():
    generator = torch.Generator().manual_seed(0)
    # every |w| alike: the top 1% of an l1 step is then as steep as the single steepest value
    weight = torch.where(torch.rand(1, 8, 8, generator=generator) < 0.5, -1.0, 1.0)
    return LinearTwoClass(weight, offset=0.1)


@pytest.fixture
def inputs():
    return 0.48 + 0.04 * torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def labels_of(model, inputs):
    return model(inputs).argmax(1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("steps", [1, 20])
def test_on_a_linear_model_the_known_minimum_decides(linear, inputs, rng, norm, steps):
    labels = labels_of(linear, inputs)
    distance = linear.distance(inputs, norm)
    for factor, success in ((1.02, True), (0.98, False)):
        for i in range(len(inputs)):
            eps = factor * distance[i].item()
            attack = PGD(norm=norm, eps=eps, steps=steps, start="image")
            adversarial = attack(linear, inputs[i : i + 1], labels[i : i + 1], rng=rng.select([i]))
            assert (linear(adversarial).argmax(1) != labels[i]).item() == success


def test_fgsm_by_hand(linear, rng):
    inputs = torch.full((1, 1, 8, 8), 0.5)
    inputs[0, 0, 0, 0] = 0.0  # at the edge of the box: this pixel can move one way only
    labels = labels_of(linear, inputs)
    step = FGSM(eps=0.01)(linear, inputs, labels, rng=rng.select([0])) - inputs
    direction = -linear.weight.detach() if labels.item() == 1 else linear.weight.detach()
    expected = (0.01 * direction)[None].clone()
    expected[0, 0, 0, 0].clamp_(min=0)
    torch.testing.assert_close(step, expected, atol=1e-7, rtol=0)


def test_targeted_attacks_reach_their_targets(rng):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).eval()
    inputs = 0.3 + 0.4 * torch.rand(8, 3, 2, 2)
    labels = labels_of(model, inputs)
    targets = (labels + 1) % 4
    for loss in ("ce", "margin"):
        attack = PGD(eps=0.3, steps=40, loss=loss)
        adversarial = attack(model, inputs, labels, targets=targets, rng=rng)
        assert (model(adversarial).argmax(1) == targets).float().mean() > 0.6
        untargeted = attack(model, inputs, labels, rng=rng)
        assert (model(untargeted).argmax(1) == targets).float().mean() < 1


def test_passes_stop_at_the_first_hit(linear, inputs, rng):
    labels = labels_of(linear, inputs)
    never, at_once = Counted(linear), Counted(linear)
    PGD(eps=1e-4, steps=20)(never, inputs, labels, rng=rng)
    assert (never.forwards, never.backwards) == (8 * 20, 8 * 20)
    PGD(eps=0.3, steps=20, step_size=0.3, start="image")(at_once, inputs, labels, rng=rng)
    assert (at_once.forwards, at_once.backwards) == (8 * 2, 8 * 1)


def test_an_example_keeps_the_image_that_hit_first(linear, inputs, rng):
    # Steps far beyond the boundary: whoever went on after the hit would end further away.
    labels = labels_of(linear, inputs)
    one = FGSM(eps=0.2)(linear, inputs, labels, rng=rng)
    many = PGD(eps=0.4, steps=10, step_size=0.2, start="image")(linear, inputs, labels, rng=rng)
    assert (linear(one).argmax(1) != labels).all()
    assert torch.equal(one, many)


def test_equal_settings_are_equal_values():
    assert FGSM(eps=0.1) == PGD(eps=0.1, steps=1, start="image")
    assert FGSM(eps=2 / 255).label == "fgsm linf 2/255"
    assert PGD(norm="l2", eps=0.5, loss="dlr").label == "pgd-20 l2 0.5 dlr"


def test_a_budget_beyond_the_image_is_refused(linear, inputs, rng):
    with pytest.raises(InputError, match="eps is 128 under l2.*no budget exceeds 8"):
        PGD(norm="l2", eps=128)(linear, inputs, torch.zeros(8, dtype=torch.long), rng=rng)


# ---- values of PGD -----------------------------------------------------------------------------------------


def test_rfgsm_by_hand(linear, inputs, rng):
    labels = torch.ones(8, dtype=torch.long)
    eps = 4 / 255
    adversarial = RFGSM(eps=eps)(lambda x: linear(x) + torch.tensor([0.0, 5.0]), inputs, labels, rng=rng)
    signs = rng.fold("start", 0).normal((1, 8, 8)).sign()
    expected = inputs + eps / 2 * signs - eps / 2 * linear.weight.detach().sign()
    torch.testing.assert_close(adversarial, expected, atol=1e-6, rtol=0)


def test_momentum_by_hand(rng):
    # gradient of the loss: first (1, 0), then (0, 1); with momentum 1 the second step still moves the first pixel
    class Turning(torch.nn.Module):
        def forward(self, x):
            a, b = x[:, 0, 0, 0], x[:, 0, 0, 1]
            gain = torch.where(a < 0.55, a, b)
            return torch.stack([100 - gain, gain], 1)

    inputs, labels = torch.full((1, 1, 1, 2), 0.5), torch.zeros(1, dtype=torch.long)
    attack = MIFGSM(eps=0.2, steps=2)
    moved = dataclasses.replace(attack, loss="margin")(Turning().eval(), inputs, labels, rng=rng.select([0])) - inputs
    torch.testing.assert_close(moved.flatten(), torch.tensor([0.2, 0.1]))
    plain = dataclasses.replace(attack, loss="margin", momentum=0.0)
    moved = plain(Turning().eval(), inputs, labels, rng=rng.select([0])) - inputs
    torch.testing.assert_close(moved.flatten(), torch.tensor([0.1, 0.1]))


@pytest.mark.parametrize(("level", "steps"), [(1, 1), (2, 2), (4, 5), (8, 10), (16, 20), (20, 24), (0.5, 1)])
def test_unit_step_pgd_has_the_published_number_of_steps(level, steps):
    attack = UnitStepPGD(eps=level / 255)
    assert (attack.steps, attack.step_size, attack.start) == (steps, 1 / 255, "halfway")


def test_the_published_values_are_the_defaults():
    assert (BIM().eps, BIM().steps, BIM().start) == (0.03, 100, "image")
    assert BIM().lengths == [pytest.approx(0.0003)] * 100
    assert MIFGSM().lengths == [pytest.approx(1.6 / 255)] * 10
    assert MadryPGD(norm="l2", eps=0.5, steps=40).lengths == [pytest.approx(2.5 * 0.5 / 40)] * 40
    assert RFGSM(eps=0.04).lengths == [0.02]
    assert (SPSA().eps, SPSA().steps, SPSA().learning_rate, SPSA().delta, SPSA().samples) == (
        0.03,
        100,
        0.01,
        0.01,
        128,
    )
    assert (ZOO().learning_rate, ZOO().initial_constant) == (0.1, 0.9)
    for attack in (CW(), ZOO()):
        assert (attack.steps, attack.search_steps, attack.kappa, attack.eps) == (100, 10, 0, float("inf"))


def test_steps_fall_from_the_first_to_the_last():
    eps = 8 / 255
    assert PGD(eps=eps, steps=3).lengths == [pytest.approx(eps * part) for part in (2, 1.05, 0.1)]
    assert PGD(eps=eps, steps=3, end_factor=0.5).lengths == [pytest.approx(eps * part) for part in (2, 1.5, 1)]
    assert PGD(eps=eps, steps=2, step_size=0.01).lengths == [0.01, 0.01]
    assert PGD(eps=eps, steps=2, rel_step_size=0.5, end_factor=0.2).lengths == [eps * 0.5, pytest.approx(eps * 0.1)]
    refused = {
        "both given": {"step_size": 0.01, "rel_step_size": 0.1},
        "last of several steps": {"steps": 1, "end_factor": 0.1},
        "end_factor is 0": {"end_factor": 0.0},
    }
    for words, fields in refused.items():
        with pytest.raises(InputError, match=words):
            PGD(**fields)


def test_every_step_has_its_length(rng):
    # along a slope that never ends, each step is as long as it was told: the l2 ball is far away
    class Slope(nn.Module):
        def forward(self, x):
            return torch.stack([100 + 0 * x.flatten(1).sum(1), x[:, 0, 0, 0]], 1)

    seen = []

    def watched(x):
        seen.append(x[0, 0, 0, 0].item())
        return Slope()(x)

    attack = PGD(norm="l2", eps=1.0, steps=4, rel_step_size=0.2, end_factor=0.25, start="image")
    last = attack(watched, torch.zeros(1, 1, 1, 4), torch.zeros(1, dtype=torch.long), rng=rng.select([0]))
    moved = torch.tensor([*seen, last[0, 0, 0, 0].item()]).diff()
    torch.testing.assert_close(moved, torch.tensor([0.2, 0.15, 0.1, 0.05]))


def test_labels_say_what_it_is():
    names = [a.label for a in (RFGSM(), BIM(), MIFGSM(), PGD(restarts=5), UnitStepPGD(), Noise(draws=3), CW(), FMN())]
    assert MadryPGD(norm="l2", eps=0.5).label == "pgd-20 l2 0.5 step=0.125eps"
    assert PGD(rel_step_size=1, end_factor=0.1).label == "pgd-20 linf 8/255 step=1eps end=0.1"
    assert names == [
        "r+fgsm linf 8/255",
        "bim-100 linf 7.65/255",
        "mi-fgsm-10 linf 16/255",
        "pgd-20x5 linf 8/255",
        "pgd-10 linf 8/255 step=1/255",
        "noise-3 linf 8/255",
        "cw-100x10 l2",
        "fmn-100 l2",
    ]


def test_restarts_find_what_one_start_misses(rng):
    # The model is wrong in a small corner of the ball only and gives no slope towards it.
    class Corner(torch.nn.Module):
        def forward(self, x):
            inside = (x[:, 0, 0] > 0.5).all(1).float()
            return torch.stack([torch.ones(len(x)), 2 * inside], 1) + 0 * x.sum((1, 2, 3))[:, None]

    inputs, labels = torch.full((8, 1, 1, 2), 0.5), torch.zeros(8, dtype=torch.long)
    counted = Counted(Corner().eval())
    broken = []
    for restarts in (1, 4, 30):
        adversarial = PGD(eps=0.1, steps=1, restarts=restarts)(counted, inputs, labels, rng=rng)
        broken.append(int(Corner()(adversarial).argmax(1).sum()))
    assert broken[0] < broken[1] <= broken[2] == 8
    single = PGD(eps=0.1, steps=1)(Corner().eval(), inputs, labels, rng=rng)
    assert torch.equal(single[:1], PGD(eps=0.1, steps=1)(Corner().eval(), inputs[:1], labels[:1], rng=rng.select([0])))


def test_passes_of_restarts(linear, inputs, rng):
    counted, attack = Counted(linear), PGD(eps=1e-5, steps=3, restarts=4)
    attack(counted, inputs + 0.2 * linear.weight.detach().sign(), torch.ones(8, dtype=torch.long), rng=rng)
    assert counted.forwards == 8 * (4 * 3 + 3)
    assert counted.backwards == 8 * 4 * 3
    assert counted.forwards + counted.backwards == 8 * attack.passes


@pytest.mark.parametrize("norm", NORMS)
def test_noise_stays_inside_and_breaks_what_is_near(norm, linear, inputs, rng):
    labels = labels_of(linear, inputs)
    eps = {"linf": 0.5, "l2": 4.0, "l1": 30.0}[norm]
    broken = []
    for draws in (1, 40):
        adversarial = Noise(norm=norm, eps=eps, draws=draws)(linear, inputs, labels, rng=rng)
        assert (BALLS[norm].norm(adversarial - inputs) <= eps * (1 + 1e-6)).all()
        assert adversarial.min() >= 0
        assert adversarial.max() <= 1
        broken.append(int((linear(adversarial).argmax(1) != labels).sum()))
    assert broken[0] < broken[1] == 8


@pytest.mark.parametrize("attack", [FGSM(eps=0.1), PGD(eps=0.1, steps=3)])
def test_a_gradient_of_zero_is_warned_of(attack, rng):
    """Rounding in front of a model makes it look robust against whatever follows the gradient."""
    layer = torch.nn.Linear(16, 3).eval()
    inputs = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    def rounded(images):
        return layer((255 * images).round().flatten(1) / 255)

    with pytest.warns(UserWarning, match="the gradient is zero for most images.*BPDA"):
        attack(rounded, inputs, rounded(inputs).argmax(1), rng=rng)
