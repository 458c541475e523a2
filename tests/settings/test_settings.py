import importlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitproof.attacks import ATTACKS, FGSM, FMN, PGD, Noise
from bitproof.errors import InputError, lookup
from bitproof.settings import build, describe, digest, name_family, parse, source_of


@dataclass(frozen=True, kw_only=True)
class Inner:
    x: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = Inner()
    names: tuple[str, ...] = ("a", "b")
    flag: bool = False


def test_a_description_is_plain_data_and_says_where_a_foreign_class_is_from():
    here = __name__
    expected = {
        "type": f"{here}:Outer",
        "inner": {"type": f"{here}:Inner", "x": 0.5},
        "names": ["a", "b"],
        "flag": False,
    }
    assert describe(Outer()) == expected
    assert describe(FGSM(eps=0.1)).keys() >= {"type", "eps"} and describe(FGSM(eps=0.1))["type"] == "PGD"
    assert "source" in describe(Outer(), sources=True) and "source" not in describe(FGSM(), sources=True)


def test_equal_values_have_equal_digests_and_others_do_not():
    assert digest(describe(FGSM(eps=0.1))) == digest(describe(PGD(eps=0.1, steps=1, start="image")))
    assert digest(describe(PGD(eps=0.1))) != digest(describe(PGD(eps=0.1000001)))
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


@settings(deadline=None)
@given(eps=st.floats(0, 1), steps=st.integers(1, 100), norm=st.sampled_from(["linf", "l2", "l1"]))
def test_a_setting_survives_description_and_text(eps, steps, norm):
    setting = PGD(eps=eps, steps=steps, norm=norm)
    assert build(PGD, describe(setting)) == setting
    assert parse(f"pgd:eps={eps!r},steps={steps},norm={norm}", ATTACKS, "attack") == setting


def test_infinity_survives_description_and_text():
    assert json.loads(json.dumps(describe(FMN()), allow_nan=False))["eps"] == "inf"
    assert build(FMN, describe(FMN())) == FMN() == parse("fmn:eps=inf", ATTACKS, "attack")
    assert digest(describe(FMN())) != digest(describe(FMN(eps=1.0)))


def test_text_takes_fractions_none_and_switches():
    parsed = parse("pgd:eps=8/255,step_size=none,start=image", ATTACKS, "attack")
    assert parsed == PGD(eps=8 / 255, step_size=None, start="image")
    assert parse("fgsm:eps=0.1/255", ATTACKS, "attack") == FGSM(eps=0.1 / 255)
    assert parse("fgsm:norm=l2,eps=1/2", ATTACKS, "attack") == FGSM(norm="l2", eps=0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pdg", "unknown attack 'pdg'.*Did you mean 'pgd'"),
        ("pgd:epz=1", "unknown field of pgd 'epz'.*Did you mean 'eps'"),
        ("pgd:eps", "field=value"),
        ("pgd:steps=many", "steps of pgd is 'many': it is a whole number"),
        ("pgd:eps=1/0", "eps of pgd is '1/0'"),
        ("pgd:start=perhaps", "unknown start .perhaps."),
        ("pgd:norm=l3", "unknown norm 'l3'"),
        ("pgd:eps=8", "0-255 scale"),
        ("pgd:steps=0", "at least one step"),
        ("pgd:step_size=0", "positive length"),
        ("pgd:loss=cw", "unknown loss 'cw'"),
    ],
)
def test_mistakes_in_text_are_explained(text, words):
    with pytest.raises(InputError, match=words):
        parse(text, ATTACKS, "attack")


def test_a_foreign_description_is_refused():
    with pytest.raises(InputError, match="does not describe a PGD"):
        build(PGD, {"type": "PGD", "wings": 2})


def test_a_name_like_no_other_gets_the_list():
    with pytest.raises(InputError, match="known are alpha, beta. Pick one"):
        lookup({"alpha": 1, "beta": 2}, "zzzzzz", "letter")


class Animal:
    """A family of settings."""


@dataclass(frozen=True, kw_only=True)
class Cat(Animal):
    lives: int = 9
    weight: float = 4.0


@dataclass(frozen=True, kw_only=True)
class Zoo(Animal):
    first: Animal = Cat()
    others: tuple[Animal, ...] = ()
    home: Path | None = None
    ages: dict[str, float] = field(default_factory=dict)
    pair: tuple[str, float] = ("a", 1.0)
    either: int | Cat | None = None
    made: str = field(init=False, default="here")


ANIMALS = {"cat": Cat, "zoo": Zoo}
name_family(Animal, "animal", ANIMALS)

cats = st.builds(Cat, lives=st.integers(0, 99), weight=st.floats(allow_nan=False))
zoos = st.recursive(
    cats,
    lambda inner: st.builds(
        Zoo,
        first=inner,
        others=st.lists(inner, max_size=3).map(tuple),
        home=st.none() | st.sampled_from([Path("a/b"), Path("c")]),
        ages=st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False), max_size=2),
        pair=st.tuples(st.text(max_size=3), st.floats(allow_nan=False)),
        either=st.none() | st.integers() | cats,
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(zoos)
def test_every_nested_setting_comes_back_from_its_description(zoo):
    assert build(Animal, json.loads(json.dumps(describe(zoo), allow_nan=False))) == zoo


def test_settings_that_hold_settings_are_written_with_brackets():
    text = "zoo:first=cat(lives=7,weight=1/2),others=cat+zoo(first=cat(lives=1),home=x/y)+cat(weight=1e+3)"
    inner = Zoo(first=Cat(lives=1), home=Path("x/y"))
    assert parse(text, ANIMALS, "animal") == Zoo(
        first=Cat(lives=7, weight=0.5), others=(Cat(), inner, Cat(weight=1000.0))
    )
    assert parse("zoo(either=(lives=3))", ANIMALS, "animal") == Zoo(either=Cat(lives=3))
    assert parse("zoo(either=3)", ANIMALS, "animal") == Zoo(either=3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("zoo:first=cat(lives=1", "bracket without its partner"),
        ("zoo:first=dog", "unknown animal 'dog'"),
        ("zoo:first=cat(lives=x)", "lives of cat is 'x'"),
        ("zoo(first=cat)(", "bracket without its partner"),
        ("cat:lives=1,lives=2", "stands twice"),
        ("cat:lives=1,2", "a setting is written field=value"),
    ],
)
def test_mistakes_inside_a_setting_are_named(text, words):
    with pytest.raises(InputError, match=words):
        parse(text, ANIMALS, "animal")


def test_what_would_be_lost_with_the_result_is_refused():
    class Dim:
        def __init__(self, factor: float) -> None:
            self.factor = factor

    @dataclass(frozen=True)
    class Holder:
        thing: object

    with pytest.raises(InputError, match=r"is no setting: .*dataclass"):
        describe(Dim(0.5))
    with pytest.raises(InputError, match="thing of Holder is"):
        describe(Holder(thing=object()))


def test_whole_numbers_and_floats_of_one_value_are_one_setting():
    assert digest(describe(Noise(eps=1))) == digest(describe(Noise(eps=1.0)))


def test_an_edited_class_of_ones_own_is_another_setting(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    found = set()
    for factor in ("1", "2"):
        code = (
            "from dataclasses import dataclass\n"
            f"def helper(): return {factor}\n"
            "@dataclass(frozen=True)\nclass Mine:\n    x: int = 1\n    def act(self): return helper()\n"
        )
        name = f"own_setting_{factor}"
        (tmp_path / f"{name}.py").write_text(code)
        made = importlib.import_module(name).Mine()
        assert describe(made)["type"] == f"{name}:Mine"
        found.add("".join(source_of(type(made))[1:]).replace(name, ""))
    assert len(found) == 2
