"""What holds for every attack in `ATTACKS` that is about one model, those to come included."""

import dataclasses
import inspect
import math
import typing
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.attacks import APGD, ATTACKS, FAB, PGD, AdversarialPatch, Attack, AutoAttack
from bitproof.core.balls import BALLS
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.errors import InputError

SMALL = {
    "steps": 6,
    "queries": 90,
    "draws": 6,
    "samples": 16,
    "coordinates": 24,
    "search_steps": 2,
    "tries": 30,
    "directions": 16,
    "side": 3,
}
"""Enough for a linear model of 36 pixels, wherever an attack has such a field."""

VARIANTS = {
    "pgd, last image": partial(PGD, stop_at_hit=False, loss="dlr"),
    "pgd, restarts": partial(PGD, start="halfway", restarts=3, momentum=0.5, loss="margin"),
    "patch, any place": partial(AdversarialPatch, place="any", stop_at_hit=False),
    "apgd, dlr": partial(APGD, loss="dlr", restarts=2),
    "apgd, classes": partial(APGD, loss="dlr", classes=9),
    "fab, no class": partial(FAB, classes=0, restarts=2),
    "autoattack, plus": partial(AutoAttack, version="plus", queries=50),
    "autoattack, rand": partial(AutoAttack, version="rand", draws=2),
    "autoattack, to the end": partial(AutoAttack, stop_at_hit=False, queries=20),
}
"""Settings that take other ways through an attack than its defaults."""

BUILDS = {name: build for name, build in ATTACKS.items() if name != "diva"} | VARIANTS
ORDER = {"linf": np.inf, "l2": 2, "l1": 1}
N, CLASSES = 6, 10


def make(name: str, **wanted: Any) -> Attack:
    """The attack at little cost; `norm` and `eps` are those of the attack in it, where it is around another one."""
    takes = inspect.signature(BUILDS[name]).parameters
    if "attack" in takes:
        wanted = {"attack": make("pgd", **wanted)}
    given = BUILDS[name].keywords if isinstance(BUILDS[name], partial) else {}
    small = {k: v for k, v in SMALL.items() if k in takes and k not in given and takes[k].default is not None}
    return BUILDS[name](**small, **wanted)


def norms_of(name: str) -> list[str]:
    """The norms that the attack offers."""
    offered = []
    for norm in BALLS:
        try:
            offered.append(make(name, norm=norm).norm)
        except (InputError, TypeError):  # no such norm, or no choice
            continue
    return offered or [make(name).norm]


def at(name: str, norm: str, eps: float) -> Attack:
    """The attack under one of its norms, with a budget."""
    return make(name, eps=eps) if norms_of(name) == [norm] else make(name, norm=norm, eps=eps)


CASES = [(name, norm) for name in BUILDS for norm in norms_of(name)]
every_attack = pytest.mark.parametrize("name", BUILDS)
every_norm = pytest.mark.parametrize(("name", "norm"), CASES, ids=[f"{name} {norm}" for name, norm in CASES])


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def linear(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(36, CLASSES)).to(dtype).eval()
    weight = torch.randn(CLASSES, 36, generator=generator, dtype=dtype)
    model[2].weight.data, model[2].bias.data = weight, -weight.sum(1) / 2  # all classes meet at the grey image
    return model


def images(dtype: torch.dtype = torch.float32, spread: float = 0.2) -> torch.Tensor:
    draws = torch.rand(N, 1, 6, 6, generator=torch.Generator().manual_seed(1), dtype=dtype)
    return 0.5 + spread * (draws - 0.5)


def distances(model: nn.Sequential, inputs: torch.Tensor, norm: str) -> np.ndarray:
    """How far the nearest other class of the linear model is, ignoring the box."""
    logits = model(inputs).detach().double().numpy()
    weight = model[2].weight.detach().double().numpy() / (1 + model[0].eps) ** 0.5
    dual = {"linf": 1, "l2": 2, "l1": np.inf}[norm]
    found = []
    for row in logits:
        best = row.argmax()
        others = [k for k in range(CLASSES) if k != best]
        found.append(min((row[best] - row[k]) / np.linalg.norm(weight[best] - weight[k], dual) for k in others))
    return np.array(found)


@pytest.fixture
def rng() -> Rng:
    return Rng(0, np.arange(N))


@every_norm
@pytest.mark.parametrize("eps", ["tight", "infinite"])
def test_images_lie_in_the_box_and_within_the_budget(name, norm, eps, rng):
    if eps == "infinite" and make(name).eps != math.inf:
        return
    model, inputs = linear(), images(spread=1.6).clamp(0, 1)  # every third pixel lies on the edge of the box
    radius = math.inf if eps == "infinite" else 0.9 * float(np.median(distances(model, inputs, norm)))
    attack = at(name, norm, radius)
    adversarial = attack(model, inputs, model(inputs).argmax(1), rng=rng)
    assert (attack.norm, attack.eps) == (norm, radius)
    assert (adversarial.shape, adversarial.dtype) == (inputs.shape, inputs.dtype)
    assert adversarial.min() >= 0  # which NaN is not
    assert adversarial.max() <= 1
    sizes = [np.linalg.norm(d.ravel(), ORDER[norm]) for d in (adversarial - inputs).double().numpy()]
    assert max(sizes) <= radius * (1 + 1e-6) + 1e-6
    assert max(sizes) > 0


@every_norm
def test_some_examples_of_a_linear_model_are_broken(name, norm, rng):
    model, inputs = linear(), images()
    labels = model(inputs).argmax(1)
    attack = at(name, norm, 10 * float(np.median(distances(model, inputs, norm))))
    adversarial = attack(model, inputs, labels, rng=rng)
    assert (model(adversarial).argmax(1) != labels).any()


@every_norm
def test_results_do_not_depend_on_the_batch(name, norm, rng):
    model, inputs = linear(torch.float64), images(torch.float64)
    labels = model(inputs).argmax(1)
    attack = at(name, norm, float(np.median(distances(model, inputs, norm))))
    whole = attack(model, inputs, labels, rng=rng)
    halves = [attack(model, inputs[p], labels[p], rng=rng.select(p)) for p in (range(0, N, 2), range(1, N, 2))]
    torch.testing.assert_close(whole[0::2], halves[0], atol=1e-9, rtol=0)
    torch.testing.assert_close(whole[1::2], halves[1], atol=1e-9, rtol=0)
    if attack.pooled:
        few: Any = attack
        torch.testing.assert_close(few(model, inputs, labels, rng=rng, batch_size=3), whole, atol=1e-9, rtol=0)


@every_attack
def test_targets_are_reached_where_they_are_taken(name, rng):
    model, inputs = linear(), images()
    ranks = model(inputs).argsort(1, descending=True)
    labels, near = ranks[:, 0], ranks[:, 1:4]
    attack = make(name) if make(name).eps == math.inf else make(name, eps=0.4)
    if not attack.takes_targets:
        with pytest.raises(
            InputError, match="got targets: it looks for any wrong class, and is untargeted.*CW, DDN or FMN"
        ):
            attack(model, inputs, labels, targets=near[:, 0], rng=rng)
        return
    free = model(attack(model, inputs, labels, rng=rng)).argmax(1)
    reached = 0
    for targets in near.T:
        sent = model(attack(model, inputs, labels, targets=targets, rng=rng)).argmax(1)
        reached += int((sent == targets).sum())
    assert reached > int((free[:, None] == near).sum())  # without targets, no more than one of the three


def state_of(model: nn.Module) -> dict[str, Any]:
    """Everything that an attack could leave changed."""
    return {
        "weights": {k: v.tolist() for k, v in model.state_dict().items()},
        "gradients": {k: (p.grad, p.requires_grad) for k, p in model.named_parameters()},
        "modes": [part.training for part in model.modules()],
        "hooks": [
            [list(hooks.items()) for key, hooks in sorted(vars(part).items()) if key.endswith("_hooks")]
            for part in model.modules()
        ],
    }


@every_attack
def test_everything_is_left_as_it_was_found(name, rng):
    model, inputs = linear(), images()
    model[2].bias.requires_grad_(False)
    model[1].register_forward_hook(lambda part, inputs, output: None)
    labels = model(inputs).argmax(1)
    given = [inputs.clone(), labels.clone()]
    before = state_of(model), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
    adversarial = make(name)(model, inputs, labels, rng=rng)
    assert before == (state_of(model), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist())
    assert torch.equal(given[0], inputs)
    assert torch.equal(given[1], labels)
    assert torch.is_grad_enabled()
    assert not (adversarial.requires_grad or inputs.requires_grad)
    assert adversarial.data_ptr() != inputs.data_ptr()


@every_attack
def test_the_label_says_the_budget(name):
    labels = [make(name, eps=eps).label for eps in (0.1, 0.2)]
    labels += [make(name).label] * (make(name).eps == math.inf)
    assert all(labels)
    assert len(set(labels)) == len(labels)


@every_norm
def test_passes_are_a_bound(name, norm, rng):
    model, inputs = linear(), images()
    model[2].bias.data[0] += 50.0  # nothing breaks
    attack, counted = at(name, norm, 0.01), Counted(model)
    attack(counted, inputs, torch.zeros(N, dtype=torch.long), rng=rng)
    probes = 2 * N if attack.pooled else 0  # it looks first whether the model repeats itself
    spent = counted.forwards + counted.backwards
    assert spent <= N * attack.passes + probes
    assert spent > 0 or attack.passes == 0


@every_attack
def test_attacks_that_only_ask_need_no_gradient_and_others_name_it(name, rng):
    model, inputs = linear(), images()
    labels = model(inputs).argmax(1)
    attack = make(name)

    def session(x):
        return torch.from_numpy(model(x).detach().numpy().copy())

    counted = Counted(session)
    if attack.asks_only:
        assert torch.equal(attack(counted, inputs, labels, rng=rng), attack(model, inputs, labels, rng=rng))
        assert counted.backwards == 0
    else:
        with pytest.raises(InputError, match="no gradient by its input.*this attack follows gradients.*hopskipjump"):
            attack(counted, inputs, labels, rng=rng)


@every_attack
def test_mistakes_in_a_call_are_explained(name, rng):
    model, inputs = linear(), images()
    labels = model(inputs).argmax(1)
    attack = make(name)

    def refused(words, model=model, inputs=inputs, labels=labels, **more):
        with pytest.raises(InputError, match=words):
            attack(model, inputs, labels, rng=rng, **more)

    if attack.takes_targets:
        refused(f"{N} of {N} targets equal their labels.*other than the true one", targets=labels)
    refused("images lie in .0, 1", inputs=inputs + 1)
    if attack.passes:  # one draw of noise asks nothing
        unknown = labels + 17 - labels.max()
        refused("class to leave is 17.*classes 0 to 9|10 outputs, and a label or target is 17", labels=unknown)
        refused("NaN or infinity for", model=lambda x: model(x) * torch.nan)
    unready = nn.Sequential(nn.Dropout(), linear()).train()
    refused("in train mode .Sequential, Dropout", model=unready)
    refused("in train mode", model=Counted(unready))


@every_attack
def test_settings_are_values_with_hints(name):
    assert make(name) == make(name)
    assert hash(make(name)) == hash(make(name))
    assert dataclasses.replace(make(name)) == make(name)
    build: Any = BUILDS[name]
    build = build.func if isinstance(build, partial) else build
    hints = typing.get_type_hints(build.__init__ if isinstance(build, type) else build)
    assert set(inspect.signature(build).parameters) <= set(hints)
    assert hints.get("attack", Attack) is Attack


@every_attack
def test_to_the_end_is_beyond_the_first_hit(name, rng):
    attack = make(name, eps=0.1)
    further = attack.to_the_end()
    if further == attack:
        return
    assert further.label.replace(" to the end", "") == attack.label != further.label
    assert further.to_the_end() == further
    model, inputs = linear(), images()
    labels = model(inputs).argmax(1)
    first, last = (a(model, inputs, labels, rng=rng) for a in (attack, further))
    broken = [model(images).argmax(1) != labels for images in (first, last)]
    assert torch.equal(*broken)
    assert broken[0].any()
    if name.startswith("fab"):  # its end is the nearest hit
        sizes = [BALLS[attack.norm].norm(images - inputs)[broken[0]] for images in (first, last)]
        assert (sizes[1] <= sizes[0]).all()
        return
    depths = [nn.functional.cross_entropy(model(images), labels) for images in (first, last)]
    assert depths[1] > depths[0] or (torch.equal(first, last) and attack.passes <= 2)  # one step ends where it ends


def test_who_can_go_to_the_end():
    unable = [name for name in BUILDS if name not in VARIANTS and make(name).to_the_end() == make(name)]
    assert unable == ["noise", "cw", "deepfool", "ddn", "fmn", "zoo", "hopskipjump"]  # one draw; to their ends anyway


@pytest.mark.parametrize("name", [name for name in BUILDS if make(name).pooled])
def test_nobody_to_attack(name, rng):
    nobody = rng.select(np.array([], np.int64))
    adversarial = make(name)(linear(), torch.zeros(0, 1, 6, 6), torch.zeros(0, dtype=torch.long), rng=nobody)
    assert len(adversarial) == 0


# ---- an attack of one's own --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Darker(Attack):
    """Takes light away. Needs no answers."""

    eps: float = 0.2
    norm = "linf"
    asks_only = True

    @property
    def label(self) -> str:
        return f"darker {self.budget}"

    @property
    def passes(self) -> int:
        return 0

    def __call__(self, model, inputs, labels, *, targets=None, rng):
        return (inputs - self.eps).clamp(0, 1)


class Bright(nn.Module):
    """Class 1 where the image is bright."""

    def forward(self, x):
        return torch.stack([torch.zeros(len(x)), x.flatten(1).mean(1) - 0.5], 1)


def test_an_attack_of_ones_own_is_a_condition_like_any_other():
    pictures = np.linspace(0.1, 0.9, 9, dtype=np.float32)[:, None, None, None] * np.ones((9, 1, 4, 4), np.float32)
    labels = (pictures[:, 0, 0, 0] > 0.5).astype(np.int64)
    data = bp.from_arrays(pictures, labels)
    result = bp.evaluate(Bright(), data, conditions=[Darker(), Darker(eps=0.4)], transfer=[Darker()], progress=False)
    found = {cell.condition.label: int(cell.correct.sum()) for cell in result.cells}
    assert found["darker linf 51/255"] == found["darker linf 51/255 from model"] == 7  # 0.6 and 0.7 fall
    assert found["darker linf 102/255"] == 5
    assert {cell.forwards for cell in result.cells[1:2]} == {9}
