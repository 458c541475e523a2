"""Models as people have them: what they return, in which floats, around what; and copies of them."""

import collections
import threading
import types
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune, spectral_norm, weight_norm

import bitproof as bp
from bitproof.core.calling import answer, check_module, forward, logits_in, logits_of, unwrapped
from bitproof.core.copying import copied
from bitproof.errors import InputError

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning"),
]

LOGITS, FEATURES = torch.rand(4, 10), torch.rand(4, 8)


@dataclass
class Output:
    logits: torch.Tensor
    hidden_states: Any = None


Aux = collections.namedtuple("Aux", "logits aux_logits")


@pytest.mark.parametrize(
    "output",
    [
        LOGITS,
        {"logits": LOGITS, "features": FEATURES},
        {"out": LOGITS, "map": FEATURES[:, :, None, None], "loss": torch.tensor(1.0), "ids": torch.arange(4)},
        (LOGITS, None),
        [LOGITS],
        (LOGITS.argmax(1), LOGITS),
        Aux(LOGITS, LOGITS + 1),
        Output(LOGITS, FEATURES),
        collections.OrderedDict(logits=LOGITS, hidden_states=(FEATURES, FEATURES)),
        types.SimpleNamespace(loss=None, logits=LOGITS),
    ],
    ids=lambda output: type(output).__name__,
)
def test_the_logits_are_found_in_what_models_return(output):
    assert logits_in(output, 4) is LOGITS


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ((LOGITS, FEATURES), r"a tuple \(0: \[4, 10\], 1: \[4, 8\]\) for 4 images.*net\(images\)\[0\]"),
        ({"a": FEATURES[:3]}, r"a dict \(a: \[3, 8\]\)"),
        (None, "None for 4 images"),
        (LOGITS.numpy(), "an array of float32 for 4 images"),
    ],
)
def test_what_holds_no_logits_or_several_is_refused(output, words):
    with pytest.raises(InputError, match=words):
        logits_in(output, 4)


def small(wrap=lambda layer: layer):
    torch.manual_seed(0)
    return nn.Sequential(wrap(nn.Conv2d(1, 8, 5, 3)), nn.ReLU(), nn.Flatten(), wrap(nn.Linear(288, 10))).eval()


class Around(nn.Module):
    """A model that does something to what its net is given or gives."""

    def __init__(self, what, net=None):
        super().__init__()
        self.what, self.net = what, net or small()

    def forward(self, x):
        if self.what == "writes into its images":
            return self.net(x.sub_(0.5)) + self.net(torch.zeros_like(x))
        if self.what == "keeps its features":
            self.kept = {"features": [self.net[:3](x)]}
        if self.what == "switches autocast on":
            with torch.autocast("cpu", torch.bfloat16):
                return self.net(x)
        return {"logits": self.net(x), "probabilities": self.net(x).softmax(1)}


PEOPLES = {
    "dict": lambda: Around("returns a dict"),
    "in place": lambda: Around("writes into its images"),
    "keeps": lambda: Around("keeps its features"),
    "autocast": lambda: Around("switches autocast on"),
    "function": lambda: (lambda net: lambda x: (net(x),))(small()),
    "script": lambda: torch.jit.script(small()),
    "trace": lambda: torch.jit.trace(small(), torch.rand(2, 1, 20, 20)),
    "frozen script": lambda: torch.jit.freeze(torch.jit.script(small())),
    "half": lambda: small().half(),
    "bfloat16": lambda: small().bfloat16(),
    "double": lambda: small().double(),
    "weight norm": lambda: small(weight_norm),
    "spectral norm": lambda: small(spectral_norm),
    "pruned": lambda: small(lambda layer: prune.l1_unstructured(layer, "weight", 0.3)),
    "parallel": lambda: nn.DataParallel(small()),
}


@pytest.fixture(scope="module")
def few():
    return bp.load_data("digits", limit=24)


@pytest.mark.parametrize("name", PEOPLES)
def test_it_is_evaluated_and_attacked_like_any_model(name, few):
    """Also after a call with gradients, which leaves what it computed in some of them."""
    model = PEOPLES[name]()
    if getattr(model, "training", False):
        model.eval()
    x = few.images(range(24))
    before = x.clone()
    logits = logits_of(model, x).detach()
    assert logits.dtype == torch.float32 and torch.equal(x, before)
    conditions = ["pgd:eps=2/255,steps=2", "autoattack:eps=1/255,steps=2,queries=2"]
    found = bp.evaluate(model, few, conditions=conditions, progress=False, batch_size=32)
    assert np.array_equal(found.cells[0].predictions, logits.argmax(1).numpy())
    adversarial = bp.attacks.PGD(eps=1 / 255, steps=2)(model, x, logits.argmax(1), rng=bp.Rng(0, np.arange(24)))
    assert adversarial.shape == x.shape


def test_an_attack_without_gradients_says_who_switched_them_off(few):
    x, labels, rng = few.images(range(4)), torch.from_numpy(few.labels[:4]), bp.Rng(0, np.arange(4))
    for switch in (torch.no_grad, torch.inference_mode):
        with switch(), pytest.raises(InputError, match=r"switched off around.*torch.no_grad\(\).*outside"):
            bp.attacks.PGD(steps=2)(small(), x, labels, rng=rng)
        with switch():
            bp.attacks.Noise(draws=2)(small(), x, labels, rng=rng)
    with torch.no_grad():
        bp.attacks.APGD(steps=2)(small(), x, labels, rng=rng)


def test_what_a_model_cannot_take_is_said_under_its_name():
    class Picky(nn.Module):
        def forward(self, x):
            assert x.shape[2] == 224, f"height {x.shape[2]} is not 224"
            return x

    with pytest.raises(InputError, match=r"'mine' failed on images of shape \(1, 20, 20\) \(height 20 is not 224\)"):
        forward(Picky(), torch.rand(2, 1, 20, 20), "mine")
    with pytest.raises(InputError, match="'Sequential' failed"):
        answer(small(), torch.rand(2, 3, 20, 20))


def test_a_network_without_values_and_a_scripted_one_are_explained(few):
    with torch.device("meta"):
        empty = nn.Sequential(nn.Flatten(), nn.Linear(400, 10))
    with pytest.raises(InputError, match="model 'empty' has weights on the device 'meta'.*Load its weights"):
        forward(empty, torch.zeros(2, 1, 20, 20), "empty")
    scripted = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(400, 10)))
    with pytest.raises(InputError, match="has no compute layers.*of a scripted or exported one what it was made from"):
        bp.quantize(scripted, "w8a8", few)  # pyright: ignore


def test_models_come_out_of_what_runs_them_another_way():
    net = small()
    assert unwrapped(nn.DataParallel(torch.compile(net, backend="eager"))) is net is unwrapped(net)


def test_copies_have_no_history_and_leave_the_original():
    for model in (Around("keeps its features"), small(weight_norm), small(spectral_norm), torch.jit.script(small())):
        x = torch.rand(2, 1, 20, 20)
        logits_of(model, x)  # with gradients
        made = copied(model.eval())
        torch.testing.assert_close(logits_of(made, x), logits_of(model, x))
        assert all(p.is_leaf and p.requires_grad for p in made.parameters())
    kept = Around("keeps its features")
    kept(torch.rand(2, 1, 20, 20))
    assert copied(kept).kept["features"][0].grad_fn is None is not kept.kept["features"][0].grad_fn


def test_what_cannot_be_copied_is_named():
    model = small()
    model.lock = threading.Lock()
    with pytest.raises(InputError, match="cannot be copied .*lock.*open files, locks"):
        copied(model)
    with pytest.raises(InputError, match="a function as a model.*Pass the nn.Module itself"):
        check_module(lambda x: x)
