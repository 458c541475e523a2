"""Settings of somebody's own by the name of their module: attacks, corruptions, quantizers and losses, as text."""

import itertools
import sys

import pytest
import torch

import bitproof as bp
from bitproof.conditions import as_condition
from bitproof.errors import InputError
from bitproof.quant.scheme import LayerRule
from bitproof.settings import describe, failed_in_own_code, imported, parse
from bitproof.train import OBJECTIVES, RECIPES
from bitproof.train.objectives import Criterion, CrossEntropy, as_objective

MINE = """
from dataclasses import dataclass
from torch.nn.functional import cross_entropy
from bitproof.attacks import Attack, PGD
from bitproof.quant.affine import Affine
from bitproof.shifts import Corruption
from bitproof.train import standard

@dataclass(frozen=True, kw_only=True)
class Darker(Attack):
    norm: str = "linf"
    eps: float = 0.2
    label = property(lambda self: f"darker {self.budget}")
    passes = 0

    def __call__(self, model, inputs, labels, *, targets=None, rng):
        return (inputs - self.eps).clamp(0, 1)

@dataclass(frozen=True, kw_only=True)
class Stripes(Corruption):
    name = "stripes"

    def corrupt(self, picture, generator):
        return picture * (1 - 0.1 * self.severity)

@dataclass(frozen=True, kw_only=True)
class Coarse(Affine):
    name = "coarse"

FAR = Darker(eps=0.5)

def short(*, epochs=1, rate=0.01): return standard(epochs=epochs, learning_rate=rate)
def strong(steps=7): return PGD(steps=steps)
def loss(logits, labels): return 2 * cross_entropy(logits, labels)
def rows(logits, labels): return cross_entropy(logits, labels, reduction="none")
def alone(logits): return logits.mean()

@dataclass(frozen=True, kw_only=True)
class Failing(Darker):
    def __call__(self, model, inputs, labels, *, targets=None, rng):
        return inputs / [1]

class Unfinished(Attack):
    norm, eps = "linf", 0.1
"""
_numbers = itertools.count()


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    name = f"peoples_settings_{next(_numbers)}"
    (tmp_path / f"{name}.py").write_text(MINE)
    return name


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("{}:Darker", "darker linf 51/255"),
        ("{}:Darker(eps=0.1)", "darker linf 25.5/255"),
        ("{}:Darker:eps=0.1,norm=linf", "darker linf 25.5/255"),
        ("{}:FAR", "darker linf 127.5/255"),
        ("{}:Stripes:severity=2", "stripes"),
        ("{}:strong:steps=3", "pgd"),
        ("eot:attack={}:Darker(eps=0.1),draws=2", "darker"),
        ("crafted:attack={}:Darker(eps=0.1),targets=next", "darker"),
    ],
)
def test_conditions(mine, text, label):
    assert label in as_condition(text.format(mine)).label


def test_quantizers(mine):
    scheme = bp.Scheme.parse(f"{mine}:Coarse:w4a8,granularity=tensor,last=float")
    assert (scheme.label, scheme.weight_bits, scheme.act_bits) == (
        "coarse w4a8 granularity=tensor last=float",
        4,
        8,
    )
    rule = bp.Scheme.parse(f"w4a4,layers=linear={mine}:Coarse(w2a2)").layers[0]
    assert isinstance(rule, LayerRule) and rule.label.startswith("linear=coarse(w2a2")
    with pytest.raises(InputError, match="derives from bitproof.quant.method.Method"):
        bp.Scheme.parse(f"{mine}:loss:w4a4")


def test_losses_and_recipes(mine):
    assert parse(f"{mine}:short:epochs=3,rate=0.1", RECIPES, "recipe").optimisation.learning_rate == 0.1
    objective = parse(f"standard:objective={mine}:loss", RECIPES, "recipe").objective
    assert isinstance(objective, Criterion) and objective.label == "loss"
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    value = objective.function(logits, labels)
    assert torch.allclose(value, 2 * torch.nn.functional.cross_entropy(logits, labels))


def test_a_loss_belongs_to_its_code():
    one, other = (Criterion(function=f) for f in (lambda a, b: (a - b).sum(), lambda a, b: (a - 2 * b).sum()))
    assert describe(one, sources=True) != describe(other, sources=True)


class Doubled:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, logits, labels):
        return self.factor * torch.nn.functional.cross_entropy(logits, labels)


def test_losses_of_torch_and_callable_objects_are_taken_with_their_state():
    """Red: the remedy of the refusal spoke of fields."""
    weighted = [torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, part])) for part in (1.0, 1.0, 3.0)]
    same, again, other = (as_objective(loss) for loss in weighted)
    assert describe(same, sources=True) == describe(again, sources=True) != describe(other, sources=True)
    assert same.label == "CrossEntropyLoss" and as_objective(Doubled(2)).label == "Doubled"
    assert describe(as_objective(Doubled(2)), sources=True) != describe(as_objective(Doubled(3)), sources=True)
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    assert same.function(logits, labels) == weighted[0](logits, labels)
    train = bp.load_data("digits", split="train", limit=32)
    for loss, error in ((torch.nn.MultiMarginLoss(), None), (torch.nn.CrossEntropyLoss(reduction="none"), "its mean")):
        recipe = bp.train.standard(epochs=1, objective=loss)
        if error is None:
            recipe(bp.load_model("digits_cnn"), train)
            continue
        with pytest.raises(InputError, match=error):
            recipe(bp.load_model("digits_cnn"), train)


def test_labels_are_smoothed_as_by_torch():
    smoothed = parse("cross-entropy:smoothing=0.1", OBJECTIVES, "objective")
    assert smoothed == CrossEntropy(smoothing=0.1) and smoothed.label.endswith("smoothed by 0.1")
    with pytest.raises(InputError, match="smoothing is 1"):
        CrossEntropy(smoothing=1)
    with pytest.raises(InputError, match="3 as an objective"):
        as_objective(3)


def test_a_text_is_a_setting_in_python_too():
    train = bp.load_data("digits", split="train", limit=16)
    model = bp.load_model("digits_cnn")
    one, other = bp.quantize(model, "w4a4", train), bp.quantize(model, bp.Scheme(weight_bits=4, act_bits=4), train)
    images = train.images(range(4))
    assert torch.equal(one(images), other(images))
    recipe = bp.train.qat(scheme="lsq:w2a2", objective="cross-entropy:smoothing=0.2", epochs=1)
    assert recipe.label == "cross-entropy, labels smoothed by 0.2, 1 epoch of adamw, lsq w2a2"


def test_what_is_not_there_is_named(mine):
    with pytest.raises(InputError, match=f"unknown name in the module {mine} 'Darkr'.*Did you mean 'Darker'"):
        as_condition(f"{mine}:Darkr")
    with pytest.raises(InputError, match="unknown field of Darker 'epz'.*Did you mean 'eps'"):
        as_condition(f"{mine}:Darker(epz=1)")
    with pytest.raises(InputError, match="is not a condition"):
        as_condition(f"{mine}:short")
    with pytest.raises(InputError, match="there is no module .*write the name without .py"):
        imported(f"{mine}.py", "Darker", "condition")


def test_what_fails_in_ones_own_code_is_told_with_its_line(mine, run):
    command = ["evaluate", "digits_cnn", "--data", "digits", "--limit", 40, "--quiet", "--condition"]
    code, _, err = run(*command, f"{mine}:Failing")
    assert code == 2 and "code of your own fails (TypeError: unsupported operand" in err
    assert f"{mine}.py line " in err and ": return inputs / [1])" in err and "Traceback" not in err
    code, _, err = run(*command, f"{mine}:Unfinished")
    assert code == 2 and "Unfinished cannot be made (TypeError: Can't instantiate abstract class" in err


def test_only_what_somebodys_own_code_raises_is_laid_at_its_door(mine):
    class_ = imported(mine, "Failing", "attack")
    for call, own in ((lambda: class_()(None, 1, None, rng=None), True), (lambda: describe(3), False)):
        try:
            call()
        except Exception as error:
            assert (failed_in_own_code(error.with_traceback(error.__traceback__.tb_next)) is not None) is own  # pyright: ignore


def test_a_loss_that_is_none_is_told(mine):
    train = bp.load_data("digits", split="train", limit=8)
    for loss, words in (
        ("rows", r"the loss gave a tensor of shape \[8\].*Return its mean"),
        ("alone", "cannot be called"),
    ):
        recipe = bp.train.standard(objective=f"{mine}:{loss}", epochs=1)
        with pytest.raises(InputError, match=words):
            recipe(bp.load_model("digits_cnn"), train, rng=bp.Rng(0, train.ids))
