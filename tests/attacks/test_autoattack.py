import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bitproof.attacks import APGD, FAB, AutoAttack, Square
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.models import build_model
from closed_form import Walls

PROBES = 3  # of each example of a small batch: is there an answer, is it steady


def inside_walls(classes=10, gap=20.0):
    """Nine walls, the first one nearest; 20 is out of reach of 8/255."""
    directions = torch.randn(classes - 1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    return Walls(directions, gap * torch.linspace(1, 4, classes - 1)).eval()


def grey(n=2):
    return torch.full((n, 1, 6, 6), 0.5), torch.zeros(n, dtype=torch.long), Rng(0, np.arange(n))


def cost(attack, model, n=2):
    inputs, labels, rng = grey(n)
    counted = Counted(model)
    attack(counted, inputs, labels, rng=rng)
    return counted.forwards / n - PROBES, counted.backwards / n


@pytest.mark.parametrize(
    ("attack", "forwards", "backwards"),
    [
        (APGD(steps=10), 11, 10),
        (APGD(steps=10, norm="l1"), 13, 10),
        (APGD(steps=10, restarts=2), 22, 20),
        (APGD(steps=10, loss="dlr", classes=9), 1 + 9 * 11, 9 * 10),
        (FAB(steps=10), 1 + 9 * 11, 9 * 10),
        (FAB(steps=10, classes=0), 11, 9 * 10),
    ],
)
def test_passes_of_an_example_that_never_breaks(attack, forwards, backwards):
    assert cost(attack, inside_walls()) == (forwards, backwards)
    assert attack.passes == forwards + backwards


def test_passes_of_the_standard_ensemble():
    forwards, backwards = cost(AutoAttack(steps=10, queries=50), inside_walls())
    without_square, square = 1 + 11 + 2 * (1 + 9 * 11), cost(Square(queries=50), inside_walls())[0]
    assert forwards <= without_square + 50
    assert square <= 50
    assert backwards == 10 + 2 * 90
    # with the published 100 steps and 5000 queries: 6,921 forwards and 1,900 backwards
    assert AutoAttack().passes == (1 + 101 + 2 * (1 + 9 * 101) + 5000) + (100 + 2 * 900)


def test_passes_of_an_example_that_breaks():
    model = inside_walls(gap=2.0)
    inputs, _, _ = grey()
    eps = 2 * model.distance(inputs, "linf")[0].item()
    assert sum(cost(APGD(eps=eps), model)) <= 2 * 5
    assert sum(cost(AutoAttack(eps=eps), model)) <= 2 * 5 + 1


def test_versions_have_the_published_members():
    assert AutoAttack(norm="l2", eps=0.5).members == (
        APGD(norm="l2", eps=0.5),
        APGD(norm="l2", eps=0.5, loss="dlr", classes=9),
        FAB(norm="l2", eps=0.5),
        Square(norm="l2", eps=0.5, planned=10_000),
    )
    first, second, *_ = AutoAttack(norm="l1", eps=12).members
    assert first == APGD(norm="l1", eps=12, restarts=5)
    assert second == APGD(norm="l1", eps=12, loss="dlr", classes=5)
    assert AutoAttack(version="plus").members == (
        APGD(restarts=5),
        APGD(loss="dlr", restarts=5),
        FAB(classes=0, restarts=5),
        Square(planned=10_000),
        APGD(loss="dlr", classes=9),
        FAB(),
    )
    assert AutoAttack(version="rand").members == (APGD(draws=20), APGD(loss="dlr", draws=20))


@pytest.mark.parametrize("classes", [4, 5, 8, 9])
def test_fewer_classes_than_targets_are_fine(classes):
    attack = AutoAttack(steps=3, queries=3)
    forwards, backwards = cost(attack, inside_walls(classes))
    assert backwards == 3 + 2 * 3 * (classes - 1)
    assert forwards <= 1 + 4 + 2 * (1 + 4 * (classes - 1)) + 3


def test_a_member_is_spared_what_another_broke():
    """Behind rounding no gradient leads anywhere, and Square alone finds the way."""
    model = inside_walls(gap=2.0)
    inputs, labels, rng = grey()
    eps = 3 * model.distance(inputs, "linf")[0].item()

    def rounding(x):
        return model(x.mul(31).round().div(31))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        adversarial = AutoAttack(eps=eps, steps=3, queries=500)(rounding, inputs, labels, rng=rng)
    assert (rounding(adversarial).argmax(1) != 0).all()


def test_a_random_model_is_judged_by_the_mean_of_its_answers():
    model = inside_walls(gap=2.0)
    inputs, labels, rng = grey(4)
    distance = model.distance(inputs, "linf")[0].item()
    generator = torch.Generator().manual_seed(0)

    def noisy(x):
        return model(x) + 0.3 * torch.randn(len(x), 10, generator=generator)

    counted = Counted(noisy)
    far, near = (
        AutoAttack(version="rand", eps=factor * distance, steps=5)(counted, inputs, labels, rng=rng)
        for factor in (0.5, 2.5)
    )
    assert (model(far).argmax(1) == 0).all()
    assert (model(near).argmax(1) != 0).all()
    # the first call: one probe, and 20 answers at the image and at every point of two runs
    assert counted.forwards >= 4 * (1 + 20 + 2 * 20 * 6)


def test_what_the_reference_breaks_at_one_grey_level(shared):
    """shared/oracles: the whole ensemble of its authors at 1/255. Our first member alone breaks the same."""
    sheet = np.asarray(Image.open(shared / "data" / "cifar10" / "test.webp").convert("RGB"))
    tiles = sheet.reshape(100, 32, 100, 32, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, 32, 32)[:128]
    with np.load(shared / "data" / "cifar10" / "labels.npz") as stored:
        labels = torch.from_numpy(stored["test"][:128].astype(np.int64))
    with np.load(shared / "oracles" / "aa_standard_resnet20_eps1_n128.npz") as stored:
        broken = np.flatnonzero(stored["clean"] & ~stored["robust"])
    inputs = torch.from_numpy(tiles[broken].astype(np.float32) / 255)
    model = build_model("resnet20", weights=shared / "data" / "weights" / "cifar10_resnet20.safetensors").eval()
    counted = Counted(model)
    adversarial = APGD(eps=1 / 255)(counted, inputs, labels[broken], rng=Rng(0, broken), batch_size=64)
    with torch.no_grad():
        survive = model(adversarial).argmax(1) == labels[broken]
    assert survive.sum() <= 1
    assert counted.forwards <= 15 * len(broken)


def test_a_confident_model_is_climbed_all_the_same():
    """At logits 1000 times as large the cross-entropy and its gradient are exactly zero in float32."""
    model = inside_walls(gap=2.0)
    inputs, labels, rng = grey()
    eps = 2 * model.distance(inputs, "linf")[0].item()

    class Sharp(nn.Module):
        def forward(self, x):
            return 1000 * model(x)

    loss = nn.functional.cross_entropy(Sharp()(inputs), labels)
    assert loss.item() == 0
    adversarial = APGD(eps=eps)(Sharp().eval(), inputs, labels, rng=rng)
    assert (model(adversarial).argmax(1) != 0).all()


@pytest.mark.parametrize("version", ["standard", "plus", "rand"])
@pytest.mark.parametrize("classes", [2, 3])
def test_below_four_classes_the_margin_stands_in_for_the_dlr_loss(version, classes):
    """Walls at known distances: within reach they are found, out of reach they are not."""
    inputs, labels, rng = grey()
    attack = AutoAttack(version=version, steps=10, queries=20, draws=2)
    tried = attack(inside_walls(classes), inputs, labels, rng=rng)
    assert (tried - inputs).abs().amax() <= attack.eps + 1e-6
    near = inside_walls(classes, gap=0.02)
    assert (near(attack(near, inputs, labels, rng=rng)).argmax(1) != labels).all()
