"""What an own class uses is part of what it is: an edit of any of it is seen."""

import importlib
import sys
from dataclasses import InitVar, dataclass

import pytest

from bitproof.attacks import PGD
from bitproof.errors import InputError
from bitproof.settings import describe, parse, source_of

HEAD = "from dataclasses import dataclass\nimport functools\nimport numpy as np\nimport torch\n"
BODY = "@dataclass(frozen=True)\nclass Mine:\n    x: int = 1\n    def act(self): return {use}\n"
CASES = {
    "a helper": ("def helper(): return {v}\n", "helper()"),
    "a number": ("V = {v}\n", "V"),
    "repeated numbers": ("V = (1, 2, {v})\n", "V"),
    "several names": ("A = 1\nB = 2\nC = {v}\n", "A + B + C"),
    "an array": ("V = np.array([1.0, {v}])\n", "V.sum()"),
    "a tensor": ("V = torch.tensor([1.0, {v}])\n", "V.sum()"),
    "a set": ("V = {{9, {v}}}\n", "V"),
    "a dictionary": ("V = {{'a': 1, 'b': {v}}}\n", "V"),
    "a long list": ("V = [{v}] * 2000\n", "V"),
    "a partial": ("V = functools.partial(max, {v})\n", "V(0)"),
    "a cached function": ("@functools.lru_cache\ndef V(): return {v}\n", "V()"),
    "an object": ("class Holder:\n    pass\nV = Holder()\nV.w = {v}\n", "V.w"),
    "slots": ("class Holder:\n    __slots__ = ('w',)\nV = Holder()\nV.w = {v}\n", "V.w"),
    "a module": ("import helper_{v} as helper\n", "helper.f()"),
    "a module inside the function": ("", "__import__('helper_{v}').f()"),
}


@pytest.mark.parametrize("what", CASES)
def test_an_edit_of_what_is_used_is_seen(what, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    before, use = CASES[what]
    found = set()
    for value in (1, 2):
        (tmp_path / f"helper_{value}.py").write_text(f"def f(): return {value}\n")
        name = f"own_source_{abs(hash(what))}_{value}"
        code = HEAD + before.format(v=value) + BODY.format(use=use.format(v=value))
        (tmp_path / f"{name}.py").write_text(code)
        made = importlib.import_module(name).Mine
        found.add("".join(source_of(made)[1:]).replace(name, ""))
        sys.modules.pop(name)
    assert len(found) == 2


def test_arguments_that_are_no_fields_are_refused():
    class Sub(PGD):
        def __init__(self, v):
            super().__init__()
            object.__setattr__(self, "v", v)

    @dataclass(frozen=True)
    class Initial:
        v: InitVar[int]
        w: int = 0

        def __post_init__(self, v):
            object.__setattr__(self, "w", v)

    class Plain(PGD):
        """Only another name."""

    for setting in (Sub(0.1), Initial(3)):
        with pytest.raises(InputError, match="takes arguments that are no fields"):
            describe(setting)
    assert describe(Plain())["eps"] == PGD().eps


def test_attacks_around_attacks_come_back():
    from bitproof.attacks import BPDA, EOT, Attack
    from bitproof.settings import build

    for attack in (
        EOT(attack=PGD(steps=3), draws=2),
        BPDA(attack=EOT(attack=PGD(norm="l2", eps=0.5)), parts=("ReLU",)),
    ):
        assert build(Attack, describe(attack)) == attack


@pytest.mark.parametrize(
    "text", ["eot", "eot:draws=3", "bpda", "eot:attack=bpda", "eot(" * 60 + ")" * 60, "pgd" * 9000]
)
def test_texts_without_what_is_needed_or_beyond_measure_are_refused(text):
    from bitproof.attacks import ATTACKS

    with pytest.raises(InputError, match=r"without attack|letters and|unknown attack"):
        parse(text, ATTACKS, "attack")
