"""Conditions in files of one's own, and targets."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.attacks import PGD
from bitproof.attacks import Attack as BaseAttack
from bitproof.conditions import Crafted, as_condition, chosen_targets
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.records import ConditionRecord
from bitproof.settings import describe
from bitproof.shifts import Corruption
from bitproof.shifts.base import Made, Rerun, Shift
from bitproof.store import Store


@dataclass(frozen=True, kw_only=True)
class Fog(Corruption):
    """Called as one of bitproof's own."""

    name: ClassVar[str] = "fog"

    def corrupt(self, picture, generator):
        return picture * 0


@dataclass(frozen=True, kw_only=True)
class Weather(Shift):
    """A shift of a kind of its own, made from the encoded file's length."""

    frames: ClassVar[int] = 3
    dim: float = 0.5

    @property
    def label(self):
        return f"weather {self.dim:g}"

    def make(self, examples, *, rng):
        frames = torch.stack([examples.images * self.dim**i for i in range(3)], 1)
        return Made(made=np.array([len(examples.encoded(i)) > 0 for i in range(len(examples))]), frames=frames)

    def record(self):
        setting = describe(self, sources=True)
        return ConditionRecord(
            kind="weather", label=self.label, group="weather", variant=f"{self.dim:g}", setting=setting
        )


@dataclass(frozen=True, kw_only=True)
class Doubled(Rerun):
    @property
    def label(self):
        return "doubled"

    def __call__(self, model):
        return nn.Sequential(model, _Times(-1.0))

    def record(self):
        return ConditionRecord(
            kind="systematic", label="doubled", group="doubled", setting=describe(self, sources=True)
        )


class _Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


@dataclass(frozen=True, kw_only=True)
class Brighter(BaseAttack):
    """An attack: all pixels up."""

    asks_only: ClassVar[bool] = True
    norm: str = "linf"
    eps: float = 0.3

    @property
    def label(self):
        return f"brighter {self.eps:g}"

    @property
    def passes(self):
        return 0

    def __call__(self, model, inputs, labels, *, targets=None, rng):
        return (inputs + self.eps).clamp(0, 1)


@pytest.fixture(scope="module")
def model():
    train = bp.load_data("digits", split="train", limit=600)
    return bp.train.standard(epochs=4)(bp.load_model("digits_cnn"), train, rng=bp.Rng(0, np.zeros(1, np.int64)))


@pytest.fixture(scope="module")
def data():
    return bp.load_data("digits", limit=40)


def test_conditions_of_ones_own_are_tested_stored_and_reported(model, data, tmp_path):
    conditions = [Fog(severity=1), bp.shifts.Fog(severity=1), Weather(), Doubled(), Brighter()]
    with Store(tmp_path / "runs.db") as store:
        first = bp.evaluate(model, data, conditions=conditions, store=store, progress=False)
        again = bp.evaluate(model, data, conditions=conditions[::-1], store=store, progress=False)
        assert (first.computed, again.computed, again.reused) == (6, 0, 6)
        by_label = {c.condition.setting["type"]: c for c in first.cells}
        assert len(by_label) == 6
        assert by_label["Fog"].correct.mean() > by_label["test_own:Fog"].correct.mean() + 0.2
        weather = store.query(kind="weather")[0]
        assert weather.frames.shape == (40, 3) and weather.condition.variant == "0.5"
        clean, doubled = by_label["Clean"], by_label["test_own:Doubled"]
        assert (doubled.predictions != clean.predictions).all()
        assert by_label["test_own:Brighter"].linf.max() == pytest.approx(0.3)
    page = first.report(tmp_path / "report.html").read_text()
    assert "Weather" in page and "brighter 0.3" in page


CALLS = {"n": 0}


def counted(images):
    CALLS["n"] += 1
    return images


@dataclass(frozen=True, kw_only=True)
class Counting(Brighter):
    def __call__(self, model, inputs, labels, *, targets=None, rng):
        return counted(inputs)


def test_a_condition_whose_code_changes_while_it_runs_is_named_with_what_changed(data):
    with pytest.raises(InputError, match="code of 'brighter 0.3' depends on 'CALLS', which changed during the run"):
        bp.evaluate(bp.load_model("digits_cnn"), data, conditions=[Counting()], progress=False)


@dataclass(frozen=True, kw_only=True)
class Twin(Weather):
    def record(self):
        return ConditionRecord(kind="clean", label="twin", group="twin", setting=describe(self, sources=True))


def test_there_is_one_clean_condition(data):
    with pytest.raises(InputError, match="condition 'weather 0.5' is of the kind 'clean'.*another kind"):
        bp.evaluate(bp.load_model("digits_cnn"), data, conditions=[Twin()], progress=False)


def test_a_rule_gives_every_example_its_target():
    labels, classes = np.array([0, 1, 2, 2]), ("ant", "bee", "cat")
    rng = Rng(0, np.arange(4))
    logits = np.array([[9.0, 1, 2], [3, 9, 1], [1, 2, 9], [7, 1, 2]])
    find = lambda rule: chosen_targets(rule, labels, classes, rng=rng, logits=logits).tolist()  # noqa: E731
    assert find("next") == [1, 2, 0, 0]
    assert find("likeliest") == [2, 0, 1, 0] and find("least-likely") == [1, 2, 0, 1]
    assert find("bee") == find("1") == [1, -1, 1, 1]
    drawn = np.array(find("random"))
    assert (drawn != labels).all() and (drawn >= 0).all() and (drawn < 3).all()
    assert chosen_targets("random", labels[2:], classes, rng=rng.select([2, 3])).tolist() == drawn[2:].tolist()
    with pytest.raises(InputError, match="targets is 'wasp': it is next, random.*ant, bee, cat"):
        find("wasp")


@pytest.mark.parametrize("rule", ["next", "random", "likeliest", "least-likely", "3"])
def test_targets_reach_the_attack_and_the_cell(model, data, rule, tmp_path):
    conditions = [Crafted(attack=PGD(eps=eps / 255, steps=10), targets=rule) for eps in (8, 48)]
    text = f"crafted:attack=pgd(eps=48/255,steps=10),targets={rule}"
    with Store(tmp_path / "runs.db") as store:
        result = bp.evaluate(model, data, conditions=conditions, store=store, progress=False)
        clean, few, many = result.cells
        assert bp.evaluate(model, data, conditions=[conditions[0], text], store=store, progress=False).computed == 0
    for cell in (few, many):
        assert cell.condition.targets == rule and cell.condition.kind == "attack"
        assert (cell.targets != cell.labels).all()
        untouched = ~clean.correct | (cell.targets < 0)
        assert (cell.linf[untouched] == 0).all() and (cell.linf[~untouched] > 0).any()
    reached = [(cell.predictions == cell.targets) & clean.correct for cell in (few, many)]
    assert (reached[0] <= reached[1]).all() and reached[1].sum() > reached[0].sum()
    if rule == "next":
        plain = bp.evaluate(model, data, conditions=[PGD(eps=48 / 255, steps=10)], progress=False).cells[1]
        assert plain.key != many.key
    assert "tsr" in set(result.summary()["metric"])
    with pytest.raises(InputError, match="targets is 'wasp'"):
        bp.evaluate(model, data, conditions=[Crafted(attack=PGD(), targets="wasp")], progress=False)


def test_an_attack_without_targets_says_so(model, data):
    with pytest.raises(InputError, match="got targets: it looks for any wrong class"):
        bp.evaluate(model, data, conditions=["crafted:attack=deepfool,targets=next"], progress=False)


def test_a_transfer_can_have_targets(model, data):
    other = bp.quantize(model, bp.Scheme("affine", weight_bits=4, act_bits=32))
    condition = Crafted(attack=PGD(eps=48 / 255, stop_at_hit=False), targets="next", source="float")
    result = bp.evaluate({"float": model, "w4": other}, data, conditions=[condition], progress=False)
    made, given = [c for c in result.cells if c.condition.kind == "transfer"]
    wrong = ~result.cells[0].correct
    assert wrong.any() and (made.linf[wrong] == 0).all() and (given.linf[wrong] == 0).all()  # lost already
    assert (made.targets == (made.labels + 1) % 10).all() and (given.targets == made.targets).all()
    assert ((made.predictions == made.targets) & (made.linf > 0)).mean() > 0.3


def test_what_is_no_condition_is_refused():
    with pytest.raises(InputError, match="3 is not a condition.*derives from"):
        as_condition(3)
