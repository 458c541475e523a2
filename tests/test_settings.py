import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitproof.attacks import ATTACKS, FGSM, FMN, PGD
from bitproof.errors import InputError, lookup
from bitproof.settings import build, describe, digest, parse


@dataclass(frozen=True, kw_only=True)
class Inner:
    x: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = Inner()
    names: tuple[str, ...] = ("a", "b")
    flag: bool = False


def test_a_description_is_plain_data():
    expected = {"type": "Outer", "inner": {"type": "Inner", "x": 0.5}, "names": ["a", "b"], "flag": False}
    assert describe(Outer()) == expected


def test_equal_values_have_equal_digests_and_others_do_not():
    assert digest(describe(FGSM(eps=0.1))) == digest(describe(PGD(eps=0.1, steps=1, start="image")))
    assert digest(describe(PGD(eps=0.1))) != digest(describe(PGD(eps=0.1000001)))
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


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
        ("pgd:steps=many", "steps of pgd is 'many'.*int"),
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
