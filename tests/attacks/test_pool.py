"""What holds for every attack of the AutoAttack family."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bitproof.attacks import APGD, FAB, AutoAttack, Square
from bitproof.core.balls import BALLS
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from closed_form import Walls

NORMS = ["linf", "l2", "l1"]

FAMILY = {
    "apgd": lambda **fields: APGD(**{"steps": 20, "restarts": 3, **fields}),
    "apgd-dlr": lambda **fields: APGD(**{"steps": 20, "loss": "dlr", "restarts": 3, **fields}),
    "apgd-t": lambda **fields: APGD(**{"steps": 20, "loss": "dlr", "classes": 9, **fields}),
    "fab-t": lambda **fields: FAB(**{"steps": 20, **fields}),
    "fab": lambda **fields: FAB(**{"steps": 20, "classes": 0, **fields}),
    "square": lambda **fields: Square(**{"queries": 50, **fields}),
    "autoattack": lambda **fields: AutoAttack(**{"steps": 5, "queries": 20, **fields}),
}

FACTOR = {"fab": 1.01, "fab-t": 1.01, "apgd": 1.05, "apgd-dlr": 1.05, "apgd-t": 1.25, "square": 2.0}
"""A budget of so many times the smallest perturbation is enough. Under l1 the best change is a single value: APGD
moves no less than two in the end, and random search is far from it."""

L1_FACTOR = {**FACTOR, "apgd": 1.3, "apgd-dlr": 1.3, "apgd-t": 1.3, "square": 3.0}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def rng():
    return Rng(0, np.arange(6))


def walls(*, folded):
    directions = 20 * torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    offsets = 20 * (torch.tensor([0.8, 1.0, 1.0, 1.3]) if folded else torch.tensor([1.0, 1.5, 2.0, 2.5]))
    return Walls(directions, offsets, folded=folded).eval()


def network(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(75, 24), nn.Tanh(), nn.Linear(24, 5)).to(dtype).eval()
    for parameter in model.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=generator).to(dtype)
    return model


def pictures(n=6, dtype=torch.float32):
    return torch.rand(n, 3, 5, 5, generator=torch.Generator().manual_seed(1)).mul(255).round().div(255).to(dtype)


def labels_of(model, inputs):
    return model(inputs).argmax(1)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", [name for name in FAMILY if name != "autoattack"])
def test_close_to_the_known_smallest_perturbation(name, norm, folded, rng):
    model = walls(folded=folded)
    inputs = 0.48 + 0.04 * torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    distance, enough = model.distance(inputs, norm).item(), (L1_FACTOR if norm == "l1" else FACTOR)[name]
    labels = labels_of(model, inputs)
    assert labels.item() == 0
    for factor, success in ((enough, True), (0.999, False)):
        attack = FAMILY[name](norm=norm, eps=factor * distance, **({"queries": 200} if name == "square" else {}))
        adversarial = attack(model, inputs, labels, rng=rng.select([0]))
        assert (labels_of(model, adversarial) != 0).item() == success


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", FAMILY)
def test_the_budget_and_the_box_are_kept(name, norm, rng):
    model, inputs = network(), pictures()
    eps = {"linf": 2 / 255, "l2": 0.1, "l1": 0.4}[norm]
    adversarial = FAMILY[name](norm=norm, eps=eps)(model, inputs, labels_of(model, inputs), rng=rng)
    assert adversarial.dtype == torch.float32
    assert adversarial.min() >= 0
    assert adversarial.max() <= 1
    size = BALLS[norm].norm(adversarial - inputs)
    assert (size <= eps).all()  # to the last bit of float32
    assert (size > 0.5 * eps).any()
    if norm == "linf":
        assert ((adversarial * 255).round() - (inputs * 255).round()).abs().max() <= 2


@pytest.mark.parametrize("name", [name for name in FAMILY if name != "autoattack"])
def test_targets_are_reached(name, rng):
    model, inputs = network(), pictures()
    labels = labels_of(model, inputs)
    targets = (labels + 1) % 5
    more = {"queries": 200} if name == "square" else {}
    adversarial = FAMILY[name](eps=0.3, **more)(model, inputs, labels, targets=targets, rng=rng)
    assert (labels_of(model, adversarial) == targets).float().mean() > 0.6
    untargeted = FAMILY[name](eps=0.3)(model, inputs, labels, rng=rng)
    assert (labels_of(model, untargeted) == targets).float().mean() < 0.6


@pytest.mark.parametrize("name", ["apgd", "fab"])
def test_those_that_stand_close_ranks(name):
    """Every other example is close to a wall and falls; the seven that never do share passes of five and two."""
    model, rng = walls(folded=False), Rng(0, np.arange(14))
    inputs = torch.full((14, 1, 6, 6), 0.5)
    push = model.walls.detach()[0] / model.walls[0].norm()
    inputs[::2] -= 0.95 * model.distance(inputs[:1], "l2") * push
    sizes = []

    def watched(images):
        sizes.append(len(images))
        return model(images)

    attack = FAMILY[name](eps=0.2 * model.distance(inputs[1:2], "linf").item())
    adversarial = attack(watched, inputs, labels_of(model, inputs), rng=rng, batch_size=5)
    assert (labels_of(model, adversarial) != 0).tolist() == [True, False] * 7
    assert sizes[3:6] == [5, 5, 4]  # after the three probes of the model
    assert sizes[-10:] == [5, 2] * 5


def test_bad_input_is_refused(rng):
    model, inputs = network(), pictures()
    labels = labels_of(model, inputs)

    def message(attack, model: Any = model, inputs=inputs, labels=labels, targets=None):
        with pytest.raises(InputError) as caught:
            attack(model, inputs, labels, targets=targets, rng=rng)
        return str(caught.value)

    with pytest.raises(InputError, match=re.escape("eps is 8 under linf: images lie in [0, 1]")):
        AutoAttack(eps=8)
    with pytest.raises(InputError, match="queries is 0: Square takes a whole number, 1 at least"):
        Square(queries=0)
    with pytest.raises(InputError, match="unknown version of AutoAttack 'standart'.*Did you mean 'standard'"):
        AutoAttack(version="standart")
    assert "no budget exceeds 8.66025" in message(APGD(norm="l2", eps=9))
    assert "to 2: images lie in [0, 1]" in message(FAB(), inputs=2 * inputs / inputs.max())
    assert "6 of 6 targets equal their labels" in message(Square(), targets=labels)
    assert "has 5 outputs, and a label or target is 7" in message(APGD(), labels=labels + 7 - labels.max())
    assert "AutoAttack got targets: it looks for any wrong class" in message(AutoAttack(), targets=(labels + 1) % 5)
    assert "in train mode" in message(APGD(), model=network().train())
    assert "in train mode" in message(APGD(), model=Counted(network().train()))
    assert "NaN or infinity for 6 of 6" in message(Square(), model=lambda x: model(x) * float("nan"))
    assert "gives no gradient by its input" in message(APGD(), model=lambda x: model(x).detach())
    assert "shape (6,) for 6 images" in message(APGD(), model=lambda x: model(x)[:, 0])
    random = message(AutoAttack(), model=lambda x: model(x) + torch.randn(len(x), 5))
    assert "answers images differently when asked again" in random
    assert 'AutoAttack(version="rand")' in random


@pytest.mark.parametrize(
    ("classes", "wrong"), [(2, "DLR loss needs at least 3"), (3, "targeted DLR loss needs at least 4")]
)
def test_too_few_classes_for_a_loss(classes, wrong, rng):
    inputs = pictures()
    labels = torch.zeros(6, dtype=torch.long)

    def model(x):
        return network()(x)[:, :classes] + 50 * torch.eye(classes)[0]

    attack = APGD(loss="dlr", classes=9 if classes == 3 else 0)
    with pytest.raises(InputError, match=f"the model has {classes} classes: the {wrong}"):
        attack(model, inputs, labels, rng=rng)
    for other in (APGD(), FAB(), Square(queries=5)):
        other(model, inputs, labels, rng=rng)


def test_a_masked_gradient_is_named(rng):
    model, inputs = network(), pictures()

    def rounding(x):
        return model((x * 15).round() / 15)

    for attack in (APGD(), FAB()):
        with pytest.warns(UserWarning, match="gradient is zero for most images.*trust Square"):
            attack(rounding, inputs, labels_of(model, inputs), rng=rng)


def test_a_model_that_only_answers(rng):
    model, inputs = network(), pictures()
    weights = [p.detach().numpy() for p in model.parameters()]

    def session(x):
        a, b, c, d = weights
        return torch.from_numpy(np.tanh(x.flatten(1).numpy() @ a.T + b) @ c.T + d)

    labels = labels_of(session, inputs)
    asked = Square(eps=0.1, queries=100)(session, inputs, labels, rng=rng)
    torch.testing.assert_close(asked, Square(eps=0.1, queries=100)(model, inputs, labels, rng=rng))
    assert (labels_of(session, asked) != labels).any()
