"""Adversarial objectives: what they make of a linear model by hand, and that crafting leaves everything as it was."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.attacks import APGD
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.settings import parse
from bitproof.train import (
    NFGSM,
    OBJECTIVES,
    Adversarial,
    Free,
    Optimisation,
    RandomBudget,
    Recipe,
    Trades,
    qat,
    standard,
)
from bitproof.train.batches import Batch, Batches
from bitproof.train.crafting import crafted, held_still
from bitproof.train.objectives.trades import divergence

RUN = Rng(0, np.zeros(1, np.int64))
ADVERSARIAL = ["adversarial", "pgd", "fgsm", "r+fgsm", "rs-fgsm", "n-fgsm", "random-budget", "free", "trades"]


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, 2)

    def forward(self, x):
        return self.fc(x.flatten(1))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Linear().train()


@pytest.fixture
def batch():
    """Grey enough that no step leaves [0, 1]."""
    inputs = 0.4 + 0.2 * torch.rand(6, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    return Batch(
        inputs=inputs, labels=torch.arange(6) % 2, ids=np.arange(6), epoch=0, step=0, progress=0
    )  # fmt: skip


def uphill(model, batch):
    """Where the loss of a linear model of two classes climbs: the same everywhere."""
    weight = model.fc.weight.detach()
    return (weight[1 - batch.labels] - weight[batch.labels]).sign().view_as(batch.inputs)


def seen_by(objective, model, batch, rng=None):
    """The images that an objective trains on."""
    seen = []
    hook = model.fc.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].detach().view(-1, *batch.inputs.shape[1:]))
    )
    objective.start(Linear())(model, batch, rng or Rng(0, batch.ids))
    hook.remove()
    return seen[-1]


# ---- what is trained on, by hand -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fgsm", "pgd", "rs-fgsm"])
def test_steps_on_a_linear_model_end_where_they_must(name, model, batch):
    """FGSM and eight steps of eps / 4 end in the corner of the ball; 1.25 eps from a uniform start does not always."""
    steps = {"steps": 8} if name == "pgd" else {}
    moved = seen_by(OBJECTIVES[name](eps=4 / 255, **steps), model, batch) - batch.inputs
    corner = 4 / 255 * uphill(model, batch)
    if name == "rs-fgsm":
        assert (moved * corner.sign() >= 0.25 * 4 / 255 - 1e-6).all() and (moved.abs() <= 4 / 255 + 1e-6).all()
        assert 0.4 < ((moved - corner).abs() < 1e-6).float().mean() < 1
    else:
        torch.testing.assert_close(moved, corner)


def test_r_fgsm_is_half_a_random_and_half_a_gradient_step(model, batch):
    moved = seen_by(OBJECTIVES["r+fgsm"](eps=8 / 255), model, batch) - batch.inputs
    sizes = (moved * uphill(model, batch) * 255).round()
    assert set(sizes.flatten().tolist()) == {0.0, 8.0}


def test_n_fgsm_steps_from_noise_that_is_never_cut(model, batch):
    moved = seen_by(NFGSM(eps=4 / 255), model, batch) - batch.inputs
    along = moved * uphill(model, batch) * 255
    assert (along >= -4 - 1e-3).all() and (along <= 12 + 1e-3).all()
    assert along.max() > 8 and along.min() < 0
    draws = Rng(0, batch.ids).fold("noise").uniform((3, 2, 2))
    torch.testing.assert_close(moved, 8 / 255 * (2 * draws - 1) + 4 / 255 * uphill(model, batch))


def test_the_random_budget_follows_the_step_and_is_half_normal(model, batch):
    objective = RandomBudget(attack="fgsm", delta=8 / 255)
    budgets = np.array([objective.budget(replace(batch, step=step), RUN) for step in range(2000)]) * 255
    assert budgets.max() == pytest.approx(16) and budgets.min() >= 0
    assert np.mean(budgets < 8) == pytest.approx(0.683, abs=0.03)
    assert np.mean(budgets == budgets.max()) == pytest.approx(0.0455, abs=0.015)
    later = replace(batch, step=7)
    moved = seen_by(objective, model, later, Rng(0, batch.ids)) - batch.inputs
    torch.testing.assert_close(moved, uphill(model, batch) * objective.budget(later, Rng(0, batch.ids)))


@pytest.mark.parametrize("attack", ["fgsm", "r+fgsm", "pgd"])
def test_every_attack_of_lin2019_stays_in_its_budget(attack, model, batch):
    objective = RandomBudget(attack=attack)
    for step in range(20):
        here = replace(batch, step=step)
        moved = seen_by(objective, model, here, Rng(0, batch.ids)) - batch.inputs
        assert moved.abs().max() <= objective.budget(here, Rng(0, batch.ids)) + 1e-6


def test_trades_by_hand(model, batch):
    value, logits = Trades(eps=4 / 255, step_size=2 / 255).start(Linear())(model, batch, Rng(0, batch.ids))
    moved = seen_by(Trades(eps=4 / 255, step_size=2 / 255), model, batch)
    torch.testing.assert_close(
        (moved - batch.inputs).abs(), torch.full_like(moved, 4 / 255)
    )  # a corner, on either side
    assert torch.equal(logits, model(batch.inputs))
    p, q = logits.softmax(1), model(moved).softmax(1)
    by_hand = F.cross_entropy(logits, batch.labels) + 6 * (p * (p / q).log()).sum(1).mean()
    assert value.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert divergence(logits, logits).item() == pytest.approx(0, abs=1e-6)
    sure, even = torch.tensor([[0.9, 0.1]]).log(), torch.zeros(1, 2)
    assert divergence(sure, even).item() == pytest.approx(0.368, abs=1e-3)  # 0.511 the other way round


def test_trades_has_gradients_through_both_answers(model, batch):
    """With the clean answers held fixed the gradient would be another one."""
    objective = Trades(beta=100.0)
    objective.start(Linear())(model, batch, Rng(0, batch.ids))[0].backward()
    moved = seen_by(objective, model, batch)
    clean = model(batch.inputs)
    loss = F.cross_entropy(clean, batch.labels) + 100 * divergence(clean, model(moved)) / 6
    torch.testing.assert_close(model.fc.weight.grad, torch.autograd.grad(loss, model.fc.weight)[0])


def test_free_climbs_by_the_gradients_of_training(model, batch):
    """The first pass is clean, the second in the corner; the next batch starts from where this one came to."""
    loss = Free(eps=4 / 255).start(Linear())
    seen = []
    model.fc.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().view_as(batch.inputs)))
    loss(model, batch, RUN)[0].backward()
    other = replace(batch, inputs=batch.inputs.flip(0))
    loss(model, other, RUN)
    assert torch.equal(seen[0], batch.inputs)
    torch.testing.assert_close(seen[1] - other.inputs, 4 / 255 * uphill(model, batch))


def test_replays_show_each_batch_again():
    data = bp.from_arrays(np.random.default_rng(0).random((7, 3, 2, 2), np.float32), np.zeros(7, np.int64))
    how = Optimisation(epochs=1, batch_size=3, replays=2)
    batches = Batches(
        data=data, train=np.arange(7), holdout=np.arange(0), how=how, augmentation="none", rng=RUN,
        device=torch.device("cpu"),
    )  # fmt: skip
    ids = [b.ids.tolist() for b in batches.of_epoch(0, 0)]
    assert len(ids) == batches.steps == 4 and ids[0] == ids[1] != ids[2] == ids[3]
    assert [batches.seen(step) for step in range(5)] == [0, 3, 6, 9, 12]
    assert [b.ids.tolist() for b in batches.of_epoch(0, 3)] == ids[3:]
    assert [b.step for b in batches.of_epoch(2, 1)] == [9, 10, 11]  # of the whole run: what is drawn by it never recurs


def test_any_attack_trains_and_goes_to_its_end(model, batch):
    moved = seen_by(Adversarial(attack=APGD(eps=4 / 255, steps=5)), model, batch) - batch.inputs
    assert 0 < moved.abs().max() <= 4 / 255 + 1e-6


# ---- crafting leaves the model alone -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quantized():
    images = bp.load_data("digits", split="train", limit=64)
    return bp.quantize(bp.load_model("digits_cnn"), bp.Scheme("lsq", weight_bits=3, act_bits=3), images)


@pytest.mark.parametrize("gradient", ["ste", "twin", "both"])
@pytest.mark.parametrize(
    "scheme", [None, "lsq:w3a3", "pact:w2a2", "dorefa:w2a2g4", "binaryconnect:w1a32,stochastic=true"]
)
def test_crafting_changes_nothing(scheme, gradient):
    data = bp.load_data("digits", split="train", limit=64)
    model = bp.load_model("digits_cnn")
    if scheme:
        model = bp.quantize(model, bp.Scheme.parse(scheme), data)
    model.train()
    model.backbone.linear.eval()
    next(model.parameters()).requires_grad_(False)
    modes = [module.training for module in model.modules()]
    learned = [parameter.requires_grad for parameter in model.parameters()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parts = [type(module) for module in model.modules()]
    images, labels = data.images(range(8)), torch.from_numpy(data.labels[:8])
    attack = bp.attacks.PGD(eps=0.1, steps=2, stop_at_hit=False)
    made = crafted(model, lambda m: attack(m, images, labels, rng=Rng(0, np.arange(8))), gradient)
    assert made.shape == images.shape and not made.requires_grad and not torch.equal(made, images)
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert [type(module) for module in model.modules()] == parts
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == learned
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_failed_attack_leaves_the_model_as_it_was(quantized):
    quantized.train()
    with pytest.raises(ZeroDivisionError), held_still(quantized):
        raise ZeroDivisionError
    assert all(module.training for module in quantized.modules())
    assert all(parameter.requires_grad for parameter in quantized.parameters())


def test_gradients_are_those_that_they_are_called(quantized):
    data = bp.load_data("digits", split="train", limit=8)
    images, labels = data.images(range(8)), torch.from_numpy(data.labels)

    def gradient(model):
        x = images.clone().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(model(x), labels, reduction="sum"), x)[0]

    ste, twin, both = (crafted(quantized, gradient, name) for name in ("ste", "twin", "both"))
    torch.testing.assert_close(ste, gradient(bp.freeze(quantized)))
    torch.testing.assert_close(twin, gradient(bp.load_model("digits_cnn")))
    x = images.clone().requires_grad_()
    own = bp.freeze(quantized)(x)
    by_logits = torch.autograd.grad(F.cross_entropy(own, labels, reduction="sum"), own)[0]
    float_logits = bp.load_model("digits_cnn")(y := images.clone().requires_grad_())
    torch.testing.assert_close(both, ste + torch.autograd.grad(float_logits, y, by_logits)[0])
    assert F.cosine_similarity(ste.flatten(1), twin.flatten(1)).max() < 0.999


# ---- as recipes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_recipes_learn_float_and_quantized(name):
    data = bp.load_data("digits", split="train", limit=64)
    settings = {"objective": OBJECTIVES[name](), "epochs": 1, "batch_size": 32, "replays": 2 if name == "free" else 1}
    start = bp.load_model("digits_cnn")
    for recipe in (standard(**settings), qat(scheme=bp.Scheme("lsq", weight_bits=4, act_bits=4), **settings)):
        history = []
        trained = recipe(start, data, rng=RUN, on_epoch=lambda h, _, to=history: to.extend(h))
        assert np.isfinite(history[0].loss)
        assert not torch.equal(trained.state_dict()["backbone.linear.bias"], start.state_dict()["backbone.linear.bias"])


def test_n_fgsm_makes_a_model_robust():
    """Trained alike on clean and on adversarial images, 20 PGD steps at 0.1 tell the two apart."""
    data, test = bp.load_data("digits", split="train", limit=400), bp.load_data("digits", split="test", limit=128)
    images, labels = test.images(range(128)), torch.from_numpy(test.labels)
    right = {}
    for name in ("cross-entropy", "n-fgsm"):
        objective = NFGSM(eps=0.1) if name == "n-fgsm" else OBJECTIVES[name]()
        recipe = standard(epochs=4, batch_size=32, objective=objective, averaging=0.9)
        model = recipe(bp.load_model("digits_cnn"), data, rng=RUN)
        attacked = bp.attacks.PGD(eps=0.1)(model, images, labels, rng=Rng(0, test.ids))
        right[name] = (model(attacked).argmax(1) == labels).float().mean().item()
    assert right["n-fgsm"] > right["cross-entropy"] + 0.2


def test_the_record_names_attack_schedule_and_gradient():
    recipe = parse("qat:epochs=1,objective=pgd(eps=4/255,steps=10,gradient=twin)", bp.train.RECIPES, "recipe")
    assert recipe.label == "cross-entropy on pgd-10 linf 4/255 step=0.25eps along twin, 1 epoch of adamw, lsq w4a4"
    described = bp.settings.describe(recipe)
    assert bp.settings.build(Recipe, described) == recipe
    assert "'steps': 10" in str(described) and "'rel_step_size': 0.25" in str(described)
    assert "'gradient': 'twin'" in str(described)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NFGSM(eps=8), "eps is 8"),
        (lambda: NFGSM(noise=-1), "noise is -1"),
        (lambda: Adversarial(gradient="soft"), "unknown gradient 'soft'"),
        (lambda: RandomBudget(attack="cw"), "unknown attack 'cw'"),
        (lambda: Trades(beta=0), "beta is 0"),
        (lambda: Optimisation(replays=0), "replays is 0"),
    ],
)
def test_settings_out_of_range_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
