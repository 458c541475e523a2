"""Patches and perturbations for all images, on linear models, whose best ones are known."""

import numpy as np
import pytest
import torch

import bitproof as bp
from bitproof.attacks import PGD, AdversarialPatch
from bitproof.conditions import Crafted, UniversalPatch, UniversalPerturbation
from bitproof.core.places import places_of
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.shifts.universal import Perturbation, Sticker
from closed_form import LinearTwoClass

SIDE = 3


def linear(offset: float = 0.0) -> LinearTwoClass:
    return LinearTwoClass(torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0)), offset=offset)


def pictures(count: int = 8) -> torch.Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def rng(count: int = 8) -> Rng:
    return Rng(0, np.arange(count))


@pytest.mark.parametrize(("place", "at"), [("corner", slice(5, 8)), ("centre", slice(2, 5))])
def test_in_a_fixed_place_it_is_the_best_there_is(place, at):
    model, images = linear(), pictures()
    model.weight.data[0, at, at] *= 4  # enough to turn any image
    attack = AdversarialPatch(side=SIDE, place=place, stop_at_hit=False)
    labels = model(images).argmax(1)
    found = attack(model, images, labels, rng=rng())
    best = torch.where((model.weight > 0) == (labels == 0)[:, None, None, None], 1.0, 0.0)
    assert torch.equal(found[:, :, at, at], best[:, :, at, at])
    outside = torch.ones(8, 8, dtype=torch.bool)
    outside[at, at] = False
    assert torch.equal(found[..., outside], images[..., outside])
    stopped = AdversarialPatch(side=SIDE, place=place)(model, images, labels, rng=rng())
    assert torch.equal(model(stopped).argmax(1) != labels, model(found).argmax(1) != labels)
    sent = Crafted(attack=attack, targets="next").attack(model, images, labels, targets=1 - labels, rng=rng())
    assert torch.equal(sent, found)  # of two classes, the other one is any wrong one


def test_for_any_place_it_follows_the_mean_over_places():
    """Most places would have the patch dark, three rows of them much rather bright: the mean over places is bright."""
    weight = torch.full((1, 8, 8), -0.001)  # so small that the loss is linear
    weight[0, :3] = 0.02
    model, images = LinearTwoClass(weight, offset=0.0), torch.full((8, 1, 8, 8), 0.5)
    attack = AdversarialPatch(side=2, place="any", draws=64, steps=8)
    found = attack(model, images, torch.zeros(8, dtype=torch.long), rng=rng())  # to raise the score
    changed = found != 0.5
    assert (changed.flatten(1).sum(1) == 4).all() and (found[changed] == 1).all()
    assert len({tuple(image.nonzero()[0].tolist()) for image in changed}) > 3  # each in a place of its own


def test_places_lie_inside_and_are_drawn_evenly():
    places = places_of(rng(400), "any", 3, (8, 6), 2)
    assert places.shape == (800, 2) and places.min() == 0 and places.amax(0).tolist() == [5, 3]
    assert torch.bincount(places[:, 1]).float().div(800).sub(0.25).abs().max() < 0.05
    again = places_of(rng(400).select([7]), "any", 3, (8, 6), 2)
    assert torch.equal(again, places[14:16])


def data_of(model: LinearTwoClass, count: int = 64) -> bp.Data:
    images = 0.5 + 0.4 * (pictures(count) - 0.5)
    return bp.from_arrays(images.numpy(), np.ones(count, np.int64), classes=["a", "b"])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_universal_perturbation_points_against_the_weights(norm):
    model, eps = linear(offset=1.0), {"linf": 8 / 255, "l2": 0.5}[norm]
    made = UniversalPerturbation(norm=norm, eps=eps, steps=60, name="float")(model, data_of(model), rng=rng(1))
    levels, weight = torch.tensor(made.levels, dtype=torch.float64), model.weight.detach().flatten().double()
    if norm == "linf":
        assert torch.equal(levels, -8 * weight.sign())
    else:
        assert torch.cosine_similarity(levels, -weight, dim=0) > 0.99
        assert 0.97 * eps < (levels / 255).norm() <= eps
    assert made.label == f"universal {norm} {'8/255' if norm == 'linf' else '0.5'} from float"


def test_universal_ones_are_conditions_like_any_other(tmp_path):
    model, other = linear(offset=0.3), linear(offset=0.4)
    data, others = data_of(model), data_of(model, 128)
    others = bp.data.select(others, range(64, 128))
    noise = UniversalPerturbation(eps=8 / 255, steps=20, batch=16)(model, others, rng=rng(1))
    patch = UniversalPatch(side=3, place="any", steps=20, target="a", name="float")(model, others, rng=rng(1))
    conditions = [noise, patch, PGD(eps=8 / 255, steps=5)]
    options = {"conditions": conditions, "store": tmp_path / "s.db", "progress": False}
    result = bp.evaluate({"float": model, "other": other}, data, **options)
    cells = {(c.model.name, c.condition.label): c for c in result.cells}
    clean, moved = cells["float", "clean"], cells["float", "universal linf 8/255"]
    assert moved.linf.max() <= 8 / 255 + 1e-6 and moved.correct.sum() < clean.correct.sum()
    assert moved.correct.sum() >= cells["float", "pgd-5 linf 8/255"].correct.sum()  # one for all is not one for each
    stuck = cells["float", "universal patch 3x3 any to a from float"]
    assert (stuck.targets == 0).all() and stuck.condition.kind == "universal"
    assert np.array_equal(cells["other", "universal linf 8/255"].linf, moved.linf)
    assert bp.evaluate({"float": model, "other": other}, data, **options).computed == 0


@pytest.mark.parametrize("make", [UniversalPerturbation(eps=8 / 255, steps=1), UniversalPatch(side=3, steps=1)])
def test_they_are_not_tested_on_what_they_were_made_on(make):
    model = linear(offset=0.3)
    data = data_of(model, 600)
    made = make(model, bp.data.select(data, range(500)), rng=rng(1))
    with pytest.raises(InputError, match="at least 51 of 200 images .* universal .* was made on: no figure"):
        bp.evaluate(model, bp.data.select(data, range(400, 600)), conditions=[made], progress=False)
    bp.evaluate(model, bp.data.select(data, range(500, 600)), conditions=[made], progress=False)


def test_a_patch_pulls_to_its_target():
    model = linear()
    model.weight.data[0, 5:, 5:] = -3.0
    made = UniversalPatch(side=SIDE, target="a", steps=30)(model, data_of(model), rng=rng(1))
    assert made.pixels == (255,) * 9  # class a is where the score is low


def test_mistakes_are_explained():
    data, model = data_of(linear()), linear()
    with pytest.raises(InputError, match="a patch of 9 pixels on images of 8x8: .* lies inside the image"):
        AdversarialPatch(side=9)(model, pictures(), torch.zeros(8, dtype=torch.long), rng=rng())
    with pytest.raises(InputError, match="a patch of 9 pixels"):
        UniversalPatch(side=9)(model, data, rng=rng(1))
    for words, make in (
        ("unknown place of a patch 'edge'", lambda: AdversarialPatch(place="edge")),
        ("side is 0", lambda: UniversalPatch(side=0)),
        ("unknown norm of a universal perturbation 'l1'", lambda: UniversalPerturbation(norm="l1")),
        ("perturbation of linf size 0.0392157: its budget", lambda: Perturbation(levels=(10,), eps=8 / 255)),
        ("a patch of 0 values", lambda: Sticker(pixels=(), side=1)),
        ("target is 'z'", lambda: UniversalPatch(side=2, target="z")(model, data, rng=rng(1))),
    ):
        with pytest.raises(InputError, match=words):
            make()
    for shift in (Perturbation(levels=(1,)), Sticker(pixels=(1,), side=2)):
        with pytest.raises(InputError, match="a (perturbation|patch) of 1 values"):
            bp.evaluate(model, data, conditions=[shift], progress=False)


class Several(torch.nn.Module):
    """Gives its logits in a dictionary, and computes in double precision."""

    def __init__(self, model):
        super().__init__()
        self.model = model.double()

    def forward(self, images):
        return {"logits": self.model(images), "mean": images.mean((1, 2, 3))}


def test_universal_ones_are_made_on_models_as_people_have_them():
    data = data_of(linear())
    for make in (UniversalPerturbation(eps=8 / 255, steps=5), UniversalPatch(side=3, steps=5)):
        assert make(Several(linear()), data, rng=rng(1)) == make(linear(), data, rng=rng(1))
    few = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))
    with pytest.raises(InputError, match="the model has 1 outputs, and a label or target is 1"):
        UniversalPatch(side=3, steps=1)(few, data, rng=rng(1))


@pytest.mark.parametrize(
    "make", [lambda n: Perturbation(levels=(n,) * 150_528), lambda n: Sticker(pixels=(n,), side=1)]
)
def test_records_tell_changes_apart_by_a_hash(make):
    one, same, other = (make(n).record().setting for n in (1, 1, 2))
    assert one == same != other and len(str(one)) < 300
