"""What somebody's own code returns, draws and changes is looked at before anything is believed or stored."""

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.attacks import EOT, Attack
from bitproof.conditions import Crafted
from bitproof.core.calling import module_of
from bitproof.errors import InputError
from bitproof.records import ConditionRecord
from bitproof.settings import describe
from bitproof.shifts import Corruption
from bitproof.shifts.base import Made, Rerun, Shift, all_made
from bitproof.store import Store
from trained_digits import run


def emptied(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.data.mul_(0)  # which no version counter sees


def pythonic(images: torch.Tensor) -> torch.Tensor:
    """One draw a pixel of the interpreter's own generator, which test runners seed: see `unseeded`."""
    return torch.tensor([random.random() for _ in range(images.numel())]).view_as(images)


def unseeded(images: torch.Tensor) -> torch.Tensor:
    """One draw a pixel, as two single numbers are alike within a rounding once in 25 times."""
    return torch.from_numpy(np.random.default_rng().random(tuple(images.shape), dtype=np.float32))


ATTACKS: dict[str, Callable[..., Any]] = {
    "array": lambda model, x, rng: x.numpy(),
    "none": lambda model, x, rng: None,
    "pair": lambda model, x, rng: (x, x),
    "fewer": lambda model, x, rng: x[:-1],
    "bytes": lambda model, x, rng: (255 * x).to(torch.uint8),
    "in place": lambda model, x, rng: x.zero_(),
    "graph": lambda model, x, rng: (x.requires_grad_() * 0.99).clamp(0, 1),
    "wide": lambda model, x, rng: (0.99 * x).double(),
    "torch": lambda model, x, rng: (x + 0.1 * torch.rand_like(x)).clamp(0, 1),
    "numpy": lambda model, x, rng: (x + 0.1 * np.random.rand()).clamp(0, 1),
    "entropy": lambda model, x, rng: (x + 0.1 * unseeded(x)).clamp(0, 1),
    "python": lambda model, x, rng: (x + 0.1 * pythonic(x)).clamp(0, 1),
    "seed": lambda model, x, rng: (torch.manual_seed(1), x)[1],
    "weights": lambda model, x, rng: (emptied(module_of(model)), x)[1],
    "mode": lambda model, x, rng: (module_of(model).train(), x)[1],
    "hook": lambda model, x, rng: (module_of(model).register_forward_hook(lambda *_: None), x)[1],
    "spoilt": lambda model, x, rng: (module_of(model).half(), x + torch.nan)[1],
}
CORRUPTIONS: dict[str, Callable[[np.ndarray], Any]] = {
    "bytes": lambda p: (255 * p).astype(np.uint8),
    "scale": lambda p: 3 * p - 1,
    "none": lambda p: None,
    "planes": lambda p: p.transpose(2, 0, 1),
    "cut": lambda p: p[:-1],
    "nan": lambda p: p * np.nan,
    "numpy": lambda p: p * np.random.rand(),
    "flat": lambda p: p[:, :, 0] * 0.5,
    "double": lambda p: 0.5 * p.astype(np.float64),
}
SHIFTS: dict[str, Callable[..., Any]] = {
    "bare": lambda e, rng: e.images,
    "fewer": lambda e, rng: all_made(e.images[:-1]),
    "unsaid": lambda e, rng: Made(made=np.ones(len(e), bool), frames=e.images[:-1, None]),
    "torch": lambda e, rng: all_made(torch.rand_like(e.images)),
    "entropy": lambda e, rng: all_made(e.images * unseeded(e.images)),
    "neighbours": lambda e, rng: all_made(e.images.flip(0)),
    "in place": lambda e, rng: all_made(e.images.mul_(0.5)),
    "keyed": lambda e, rng: all_made(rng.uniform(tuple(e.images.shape[1:]))),
}
RERUNS: dict[str, Callable[[nn.Module], Any]] = {
    "none": lambda model: None,
    "in place": lambda model: (emptied(model), model)[1],
    "drawn": lambda model: nn.Sequential(copy.deepcopy(model), nn.Linear(10, 10)),
    "seeded": lambda model: (torch.manual_seed(1), nn.Sequential(copy.deepcopy(model), nn.Linear(10, 10)))[1],
}


@dataclass(frozen=True, kw_only=True)
class Own(Attack):
    what: str
    norm: str = "linf"
    eps: float = 0.1
    asks_only: ClassVar[bool] = True
    passes: ClassVar[int] = 0
    label = property(lambda self: f"own {self.what}")

    def __call__(self, model, inputs, labels, *, targets=None, rng):
        return ATTACKS[self.what](model, inputs, rng)


@dataclass(frozen=True, kw_only=True)
class Blot(Corruption):
    what: str = field(default="")
    label = property(lambda self: f"blot {self.what}")
    name: ClassVar[str] = "blot"

    def corrupt(self, picture, generator):
        return CORRUPTIONS[self.what](picture)


@dataclass(frozen=True, kw_only=True)
class Moved(Shift):
    what: str
    label = property(lambda self: f"moved {self.what}")

    def make(self, examples, *, rng):
        return SHIFTS[self.what](examples, rng)

    def record(self):
        return ConditionRecord(kind="moved", label=self.label, group="moved", setting=describe(self, sources=True))


@dataclass(frozen=True, kw_only=True)
class Again(Rerun):
    what: str
    label = property(lambda self: f"again {self.what}")

    def __call__(self, model):
        return RERUNS[self.what](model)

    def record(self):
        return ConditionRecord(kind="again", label=self.label, group="again", setting=describe(self, sources=True))


@pytest.fixture(scope="module")
def few(data):
    return bp.data.select(data, np.arange(8))


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (
            Own(what="array"),
            "'own array' returned an array of float32 of shape .* returns images as a tensor of floats",
        ),
        (Own(what="none"), "'own none' returned None"),
        (Own(what="pair"), "'own pair' returned a tuple"),
        (Own(what="fewer"), r"'own fewer' returned \d images for \d: each example has its own"),
        (Own(what="bytes"), "'own bytes' returned a tensor of uint8"),
        (Own(what="in place"), "'own in place' moved an image by 1: its budget"),
        (Own(what="torch"), "'own torch' drew from, or seeded, the global random numbers .*rng.uniform"),
        (Own(what="numpy"), "'own numpy' drew from"),
        (Own(what="entropy"), "'own entropy' returned other images when it was given the same examples again"),
        (Own(what="python"), "'own python' returned other images .*rng.uniform"),
        (EOT(attack=Own(what="python"), draws=2), "returned other images"),
        (Crafted(attack=Own(what="python"), source="model"), "returned other images"),
        (Own(what="seed"), "'own seed' drew from, or seeded"),
        (Blot(what="bytes"), "'blot bytes' returned an array of uint8 of shape .* divide 8-bit values by 255"),
        (Blot(what="scale"), "'blot scale' returned values from -1 to .*np.clip"),
        (Blot(what="none"), "'blot none' returned None"),
        (Blot(what="planes"), r"'blot planes' returned an array of float32 of shape \(1, 20, 20\)"),
        (Blot(what="cut"), r"'blot cut' returned .* of shape \(19, 20, 1\): .*picture's shape \(20, 20, 1\)"),
        (Blot(what="nan"), "'blot nan' returned values from nan"),
        (Blot(what="numpy"), "'blot numpy' drew from"),
        (Moved(what="bare"), "'moved bare' returned a tensor of float32 .*all_made"),
        (Moved(what="fewer"), r"was given 8 examples, and says of which it was made by .*\(7,\)"),
        (Moved(what="unsaid"), "returned images of 7 examples and says that it was made of 8"),
        (Moved(what="torch"), "'moved torch' drew from"),
        (Moved(what="entropy"), "'moved entropy' makes another image of an example alone than beside others"),
        (Moved(what="neighbours"), "'moved neighbours' makes another image of an example alone"),
        (Again(what="none"), "'again none' returned None"),
        (Again(what="drawn"), "'again drawn' returns another model each time.*seed a field"),
    ],
)
def test_what_is_not_as_agreed_is_refused_by_name(condition, words, models, few):
    with pytest.raises(InputError, match=words):
        run(models["float"], few, [condition])


@pytest.mark.parametrize(
    "condition",
    [
        *(Own(what="graph"), Own(what="wide"), Blot(what="flat")),
        *(Blot(what="double"), Moved(what="keyed"), Again(what="seeded")),
    ],
)
def test_what_can_be_understood_is_taken(condition, models, few):
    assert len(run(models["float"], few, [condition]).cells) == 2


def test_a_shift_that_writes_into_its_images_is_as_far_from_them_as_it_went(models, few):
    clean, cell = run(models["float"], few, [Moved(what="in place")]).cells
    assert cell.linf.min() > 0.4 and not clean.linf.any()


@pytest.mark.parametrize(
    ("condition", "what"),
    [
        (Own(what="weights"), "'own weights' changed 'backbone.*weight' of model 'model'"),
        (Own(what="mode"), "'own mode' changed 'the mode of .*"),
        (Own(what="hook"), "'own hook' changed 'the hooks of .*"),
        (Own(what="spoilt"), "'own spoilt' changed 'backbone"),
        (Again(what="in place"), "'again in place' changed 'backbone"),
    ],
)
def test_what_changes_a_model_is_refused_and_nothing_wrong_is_stored(condition, what, models, few):
    with Store() as store:
        with pytest.raises(InputError, match=f"{what}.*copy.deepcopy"):
            bp.evaluate(models["float"], few, conditions=[condition, "fgsm:eps=0.1"], store=store, progress=False)
        assert [cell.condition.label for cell in store.query()] == ["clean"]
        after = bp.evaluate(models["float"], few, conditions=["fgsm:eps=0.1"], store=store, progress=False)
    assert np.array_equal(after.cells[1].predictions, run(models["float"], few, ["fgsm:eps=0.1"]).cells[1].predictions)


def test_what_a_model_does_to_itself_is_not_held_against_an_attack(models, few):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = models["float"]
            self.register_buffer("calls", torch.tensor(0))

        def forward(self, x):
            self.calls += 1
            torch.rand(1)
            return self.net(x)

    assert len(run(Counting(), few, ["fgsm:eps=0.1"]).cells) == 2
    with pytest.raises(InputError, match="'own weights' changed 'net.backbone"):
        run(Counting(), few, [Own(what="weights")])
