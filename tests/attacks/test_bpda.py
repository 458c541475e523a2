"""BPDA: where a model's own gradient is zero, the attack behind it reaches the known minimum all the same."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.attacks import APGD, BPDA, EOT, PGD, Square
from bitproof.core.passes import Counted
from bitproof.errors import InputError
from closed_form import LinearTwoClass

LEVELS = 64


class Grid(nn.Module):
    """Rounds to 1 / LEVELS, one way or another; no way has a gradient."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, x):
        match self.how:
            case "round":
                return torch.round(x * LEVELS) / LEVELS
            case "method":
                return (x * LEVELS).round() / LEVELS
            case "floor":
                return (x * LEVELS + 0.5).floor() / LEVELS
            case "cast":
                return (x * LEVELS + 0.5).to(torch.int32).to(x.dtype) / LEVELS
            case "compare":
                return (x.unsqueeze(-1) * LEVELS > torch.arange(LEVELS) + 0.5).sum(-1).to(x.dtype) / LEVELS
        raise AssertionError(self.how)


HIDDEN = ("cast", "compare")  # only naming the part helps


def behind(how):
    generator = torch.Generator().manual_seed(0)
    weight = torch.where(torch.rand(1, 8, 8, generator=generator) < 0.5, -1.0, 1.0)
    return nn.Sequential(Grid(how), LinearTwoClass(weight, offset=0.1)).eval()


@pytest.fixture
def inputs():
    """Images on the grid."""
    return (
        torch.randint(LEVELS // 2 - 1, LEVELS // 2 + 2, (8, 1, 8, 8), generator=torch.Generator().manual_seed(1))
        / LEVELS
    )


@pytest.mark.parametrize("how", ["round", "method", "floor", *HIDDEN])
@pytest.mark.parametrize("build", [PGD, pytest.param(APGD, marks=pytest.mark.slow)])
def test_the_known_minimum_is_reached_through_rounding(how, build, inputs, rng):
    model = behind(how)
    labels = model(inputs).argmax(1)
    steps = (model[1].distance(inputs, "linf") * LEVELS).ceil()  # that every pixel has to go on the grid
    for extra, success in ((-0.4, True), (-0.6, False)):  # half a step is rounded to a whole one
        for i in range(len(inputs)):
            attack = build(eps=(steps[i].item() + extra) / LEVELS)
            one = (inputs[i : i + 1], labels[i : i + 1])
            through = BPDA(attack=attack, parts=("Grid",) if how in HIDDEN else ())
            adversarial = through(model, *one, rng=rng.select([i]))
            assert (model(adversarial).argmax(1) != labels[i]).item() == success
            assert (adversarial - one[0]).abs().max() <= attack.eps + 2**-23
            if how not in HIDDEN:
                assert model(PGD(eps=attack.eps)(model, *one, rng=rng.select([i]))).argmax(1) == labels[i]


@pytest.mark.parametrize("how", HIDDEN)
def test_without_a_gradient_the_error_offers_it(how, inputs, rng):
    model = behind(how)
    for attack in (PGD(), APGD(), BPDA(attack=PGD())):
        with pytest.raises(InputError, match="gives no gradient by its input.*BPDA.*parts"):
            attack(model, inputs, model(inputs).argmax(1), rng=rng)


def test_a_zero_gradient_warns_and_offers_it(inputs, rng):
    model = behind("round")
    with pytest.warns(UserWarning, match="gradient is zero.*BPDA"):
        APGD()(model, inputs, model(inputs).argmax(1), rng=rng)


@pytest.mark.parametrize("stand_in", ["identity", "hardtanh", "tanh", "softsign", "relu"])
def test_the_gradient_is_that_of_the_stand_in(stand_in):
    from bitproof.attacks.bpda import STAND_INS, _Smooth, _stood_in

    model = behind("cast")
    x = torch.linspace(-2, 2, 64).view(1, 1, 8, 8).requires_grad_()
    with _stood_in({"0": model[0]}, STAND_INS[stand_in]):
        (gradient,) = torch.autograd.grad(_Smooth(model)(x)[:, 1].sum(), x)
    smooth = x.detach().double().requires_grad_()
    (slope,) = torch.autograd.grad(STAND_INS[stand_in](smooth).sum(), smooth)
    assert torch.allclose(gradient, (slope * model[1].weight).float(), atol=1e-6)


def test_the_model_answers_as_before_and_is_left_as_it_was(rng):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), Grid("cast"), nn.ReLU(), Grid("round"), nn.Flatten(), nn.Linear(144, 5))
    model.eval()
    inputs = torch.rand(8, 1, 8, 8)
    expected = model(inputs)
    seen = []

    def watched(self, attacked, x, y, *, targets=None, rng):
        seen.append(attacked(x.clone().requires_grad_()))
        return x

    class Watch(PGD):
        __call__ = watched

    counted = Counted(model)
    BPDA(attack=Watch(), parts=("Grid",))(counted, inputs, expected.argmax(1), rng=rng)
    assert torch.equal(seen[0], expected)
    assert counted.forwards == 8
    assert not any(part._forward_hooks for part in model.modules())
    with pytest.raises(InputError, match="targets equal"):
        labels = expected.argmax(1)
        BPDA(attack=PGD(), parts=("Grid",))(model, inputs, labels, targets=labels, rng=rng)
    assert not any(part._forward_hooks for part in model.modules())


def test_parts_go_by_name_by_its_end_and_by_class(inputs, rng):
    inner = behind("cast")
    model = nn.Sequential(nn.Identity(), inner).eval()
    labels = model(inputs).argmax(1)
    found = [
        BPDA(attack=PGD(), parts=(part,))(model, inputs, labels, rng=rng)
        for part in ("1.0", "Grid", "Gr*", "*.0")  # the last by "1.0"
    ]
    assert all(torch.equal(found[0], other) for other in found)
    assert (model(found[0]).argmax(1) != labels).all()


def test_attacks_that_are_wrapped_twice(inputs, rng):
    model = behind("round")
    labels = model(inputs).argmax(1)
    twice = BPDA(attack=EOT(attack=PGD(), draws=3))
    assert (twice.averaged, twice.passes, twice.label) == (3, 120, "pgd-20 linf 8/255 eot-3 bpda")
    assert (model(twice(model, inputs, labels, rng=rng)).argmax(1) != labels).all()
    with pytest.raises(InputError, match="only the parts of a torch module have names.*EOT inside BPDA"):
        EOT(attack=BPDA(attack=PGD(), parts=("Grid",)), draws=2)(model, inputs, labels, rng=rng)


def test_mistakes_are_explained(inputs, rng):
    with pytest.raises(InputError, match="unknown stand-in 'identitty'.*Did you mean 'identity'"):
        BPDA(attack=PGD(), stand_in="identitty")
    with pytest.raises(InputError, match=r"parts is 'Grid': it is a tuple of names. Write parts=\('Grid',\)"):
        BPDA.__post_init__(SimpleNamespace(attack=PGD(), parts="Grid", stand_in="identity"))  # past the tests' types
    with pytest.raises(InputError, match="Square only asks for answers"):
        BPDA(attack=Square())
    model = behind("cast")
    labels = model(inputs).argmax(1)
    with pytest.raises(InputError, match="no part of the model is called 'Girder'.*Grid, LinearTwoClass"):
        BPDA(attack=PGD(), parts=("Girder",))(model, inputs, labels, rng=rng)
    with pytest.raises(InputError, match=r"part '1' makes .*\(8, 2\) of .*\(8, 1, 8, 8\).*keeps its shape"):
        BPDA(attack=PGD(), parts=("LinearTwoClass",))(model, inputs, labels, rng=rng)


def test_the_evaluator_judges_it_on_the_model_itself(rng):
    data = bp.load_data("digits", limit=24)
    network = bp.load_model("digits_cnn", seed=0)
    model = nn.Sequential(Grid("round"), network).eval()
    plain, through = PGD(eps=0.1), BPDA(attack=PGD(eps=0.1))
    harder = BPDA(attack=PGD(eps=0.2))
    result = bp.evaluate({"m": model}, data, conditions=[plain, through, harder], progress=False)
    correct = {cell.condition.label: cell.correct.sum() for cell in result.cells}
    assert correct[harder.label] <= correct[through.label] < correct[plain.label]
    folded = bp.evaluate({"m": model}, data, conditions=[through], crafting="folded", progress=False)
    assert folded.cells[1].correct.sum() <= correct[through.label] + 1


class Squash(nn.Module):
    """A tanh so steep that its slope is exactly zero but for a hundredth around 1/2."""

    def forward(self, x):
        return torch.tanh(1000 * (x - 0.5))


@pytest.mark.parametrize("stand_in", ["identity", "softsign"])
def test_a_saturated_part_no_longer_hides_what_is_behind_it(stand_in, rng):
    linear = behind("round")[1]
    model = nn.Sequential(Squash(), nn.Identity(), linear).eval()
    draws = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    inputs = 0.5 + 0.02 * torch.where(draws < 0.5, -1.0, 1.0)
    labels = model(inputs).argmax(1)
    attack = PGD(eps=0.03, start="image", loss="margin")  # enough to bring every pixel to the other side of 1/2
    assert torch.equal(attack(model, inputs, labels, rng=rng), inputs)
    through = BPDA(attack=attack, parts=("Squash",), stand_in=stand_in)
    assert (model(through(model, inputs, labels, rng=rng)).argmax(1) != labels).all()
