"""What an own class uses is part of what it is: an edit of any of it is seen."""

import importlib
import os
import shutil
import subprocess
import sys
from dataclasses import InitVar, dataclass

import pytest

from bitproof.attacks import PGD
from bitproof.errors import InputError
from bitproof.settings import build, describe, parse, source_of
from bitproof.settings.source import is_installed

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
    "a module": ("import own_helper as helper\n", "helper.f()"),
    "a module imported by a function": ("def f():\n    import own_helper\n    return own_helper.f()\n", "f()"),
    "a function of a module": ("from own_helper import f\n", "f()"),
    "a function that is compiled": ("V = (torch.relu, torch.tanh)[{v} - 1]\n", "V(0)"),
    "a function of NumPy": ("V = (np.sin, np.tanh)[{v} - 1]\n", "V(0)"),
    "a table of settings": ("@dataclass\nclass S:\n    x: int\nV = {{'a': S({v})}}\n", "V['a']"),
    "a tensor of half precision": ("V = torch.tensor([1.0, {v}]).bfloat16()\n", "V.sum()"),
    "a pattern": ("import re\nV = re.compile('a{{{v}}}')\n", "V.match('')"),
    "a network": ("V = torch.nn.Sequential(torch.nn.Flatten({v}))\n", "V(0)"),
}


@pytest.mark.parametrize("what", CASES)
def test_an_edit_of_what_is_used_is_seen(what, tmp_path, monkeypatch):
    before, use = CASES[what]
    found = []
    for number, value in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "own_helper.py").write_text(f"V = {value}\ndef f(): return V\n")
        (folder / "own_source.py").write_text(HEAD + before.format(v=value) + BODY.format(use=use.format(v=value)))
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            found.append(source_of(importlib.import_module("own_source").Mine))
        for name in ("own_source", "own_helper"):
            sys.modules.pop(name, None)
    assert found[0] == found[1] != found[2]


def test_the_code_that_runs_counts_and_not_what_its_file_says_by_now(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path, code = tmp_path / "own_edited.py", HEAD + "def helper(): return 1\n" + BODY.format(use="helper()")
    path.write_text(code)
    made = importlib.import_module("own_edited").Mine
    before = source_of(made)
    path.write_text(code.replace("return 1", "return 2"))
    assert source_of(made) == before and made().act() == 1
    sys.modules.pop("own_edited")
    importlib.invalidate_caches()
    (tmp_path / "__pycache__").exists() and shutil.rmtree(tmp_path / "__pycache__")
    edited = importlib.import_module("own_edited").Mine
    assert source_of(edited) != before and edited().act() == 2


def made_of(text: str, name: str = "own_typed") -> type:
    """The class `Mine` of a module that has no file, like what is typed into an interpreter."""
    space: dict[str, object] = {"__name__": name}
    exec(HEAD + text, space)
    return space["Mine"]  # pyright: ignore


@pytest.mark.parametrize(
    ("text", "one", "other"),
    [
        ("def helper(): return {v}\n" + BODY.format(use="helper()"), 1, 2),
        (BODY.format(use="{v}"), 1, 2),
        (BODY.format(use="[self.x for i in ({v},)]"), 1, 2),
        ("V = {v}\n" + BODY.format(use="V"), 1, 2),
        (  # a decorator that keeps the name of what it wraps
            "def loud(f):\n    @functools.wraps(f)\n    def g(*a): return f(*a) * {v}\n    return g\n"
            "class Mine:\n    @loud\n    def act(self): return 1\n",
            1,
            2,
        ),
        ("class Mine:\n    @torch.no_grad()\n    def act(self): return {v}\n", 1, 2),
        ("class Mine:\n    def act(self):\n        try: f(); {v}\n        except ValueError: pass\n", "g()", "pass"),
        ("class Mine:\n    @property\n    def act(self): return {v}\n", 1, 2),
        ("class Mine:\n    {v}\n", "a, b = 1, 2", "a, b = 2, 1"),
    ],
)
def test_what_is_typed_in_is_told_apart_too(text, one, other):
    first, again, another = (source_of(made_of(text.replace("{v}", str(v)))) for v in (one, one, other))
    assert first == again
    assert first != another


def test_what_code_logs_and_locks_does_not_count():
    text = "import logging, threading\nLOG, LOCK = logging.getLogger('own'), threading.Lock()\n" + BODY.format(
        use="LOG.isEnabledFor(10), LOCK.locked()"
    )
    first, made = source_of(made_of(text)), made_of(text)
    made().act()
    assert source_of(made) == first


def test_comments_do_not_count():
    assert source_of(made_of("class Mine:\n    def f(self): return 1\n")) == source_of(
        made_of("# why\n\nclass Mine:\n\n    def f(self):\n        return 1  # one\n")
    )


def test_it_is_the_same_in_every_process(tmp_path):
    """Sets have another order in each; so do the names that hashes are kept under."""
    (tmp_path / "own_set.py").write_text(
        "class Mine:\n    def f(self, x): return x in {'a', 'b', 'c', 'd', 'e'}, lambda: {'f', 'g'}\n"
    )
    ask = "import own_set; from bitproof.settings import source_of; print(hash('a')); print(source_of(own_set.Mine))"
    found = [
        subprocess.run(
            [sys.executable, "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout.split("\n", 1)
        for seed in ("1", "2")
    ]  # fmt: skip
    assert found[0][0] != found[1][0] and found[0][1] == found[1][1]


def test_modules_are_known_by_where_they_lie():
    assert all(map(is_installed, ("bitproof.attacks", "torch", "torch._C", "numpy.random", "sys", "builtins", "ast")))
    assert not any(map(is_installed, ("__main__", "own_typed", "nowhere.to_be_found", __name__)))


def test_a_class_of_bitproof_counts_with_its_revision(monkeypatch):
    class Mine(PGD):
        """Only another name."""

    before = describe(PGD(), sources=True), describe(Mine(), sources=True)
    monkeypatch.setattr(PGD, "revision", 2, raising=False)
    after = describe(PGD(), sources=True), describe(Mine(), sources=True)
    assert after[0] == {**before[0], "source": "revision 2"} and after[1]["source"] != before[1]["source"]
    assert describe(PGD()) == {name: value for name, value in after[0].items() if name != "source"}
    assert build(PGD, after[0]) == PGD()


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
