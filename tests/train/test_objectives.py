"""Objectives, penalties and averaging: what the loop gives them, and what it does with what they return."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.settings import build, describe, parse
from bitproof.train import (
    OBJECTIVES,
    PENALTIES,
    RECIPES,
    ClippingLevels,
    CrossEntropy,
    Distillation,
    Objective,
    Optimisation,
    Penalty,
    Recipe,
    SquaredHinge,
    qat,
    standard,
)
from bitproof.train.batches import Batch
from bitproof.train.objectives import Loss
from bitproof.train.objectives.distillation import distillation
from bitproof.train.objectives.squared_hinge import squared_hinge

RUN = Rng(0, np.zeros(1, np.int64))
SGD = Optimisation(epochs=2, batch_size=3, optimizer="sgd", learning_rate=0.1, schedule="constant", weight_decay=0.1)


class Linear(nn.Module):
    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.fc = nn.Linear(12, outputs, bias=False)

    def forward(self, x):
        return self.fc(x.flatten(1))


def tiny(count: int = 8):
    generator = np.random.default_rng(0)
    return bp.from_arrays(generator.random((count, 3, 2, 2), np.float32), generator.integers(0, 2, count))


def linear() -> Linear:
    torch.manual_seed(0)
    return Linear()


def equal(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


# ---- what the objectives are -------------------------------------------------------------------------------


def test_squared_hinge_by_hand():
    logits, labels = torch.tensor([[2.0, -0.5], [0.5, 0.5]]), torch.tensor([0, 1])
    # margins t z: 2, 0.5 | -0.5, 0.5 -> shortfalls 0, 0.5 | 1.5, 0.5
    assert squared_hinge(logits, labels).item() == pytest.approx((0 + 0.25 + 2.25 + 0.25) / 4)


def test_distillation_by_hand():
    ours, theirs, t = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * np.log(3.0), 0.0]], dtype=torch.float32), 2.0
    # at temperature 2 the teacher says (3/4, 1/4), the student (1/2, 1/2)
    expected = t**2 * (0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5))
    assert distillation(ours, theirs, t).item() == pytest.approx(expected, rel=1e-5)


def batch_of(count: int) -> Batch:
    data = tiny(count)
    return Batch(
        inputs=data.images(range(count)),
        labels=torch.from_numpy(data.labels),
        ids=data.ids,
        epoch=0,
        step=0,
        progress=0,
    )


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "shared-bits"])  # it is that over members
def test_every_objective_is_a_mean_over_the_batch_that_leaves_model_and_teacher_alone(name):
    objective, model, teacher, batch = OBJECTIVES[name](), linear(), Linear(), batch_of(6)
    before = [copy.clone() for copy in (model.fc.weight, teacher.fc.weight)]
    loss = objective.start(teacher)
    model.train()
    value, logits = loss(model, batch, Rng(0, batch.ids))
    others = any(words in objective.label for words in ("on ", "under noise"))  # than those of the batch
    assert torch.equal(logits, model(batch.inputs)) or (others and logits.shape == (6, 2))
    halves = [
        loss(model, replace(batch, inputs=batch.inputs[rows], labels=batch.labels[rows], ids=batch.ids[rows]),
             Rng(0, batch.ids[rows]))[0]
        for rows in (slice(0, 3), slice(3, 6))
    ]  # fmt: skip
    assert value.item() == pytest.approx((halves[0] + halves[1]).item() / 2, rel=1e-5)
    value.backward()
    assert model.fc.weight.grad.any()
    assert teacher.fc.weight.grad is None
    assert model.training
    assert torch.equal(before[0], model.fc.weight)
    assert torch.equal(before[1], teacher.fc.weight)
    assert objective.label


def test_the_label_names_what_differs():
    assert standard().label == "cross-entropy, 20 epochs of adamw"
    assert standard(epochs=1, objective=SquaredHinge(), optimizer="sgd").label == "squared-hinge, 1 epoch of sgd"
    assert qat(distillation=0.5).label == "cross-entropy + distillation 0.5, 20 epochs of adamw, lsq w4a4"


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_come_back_from_their_descriptions(name):
    recipe = replace(
        RECIPES[name](), objective=Distillation(objective=SquaredHinge()), penalties=(ClippingLevels(weight=1),)
    )
    described = json.loads(json.dumps(describe(recipe)))
    assert build(Recipe, described) == recipe


def test_recipes_as_text_hold_objectives():
    text = "qat:epochs=3,penalty=1e-4,objective=distillation(objective=squared-hinge,weight=1/4)"
    expected = qat(epochs=3, penalty=1e-4, objective=Distillation(objective=SquaredHinge(), weight=0.25))
    assert parse(text, RECIPES, "recipe") == expected
    with pytest.raises(InputError, match="unknown objective 'hinge'.*squared-hinge"):
        parse("standard:objective=hinge", RECIPES, "recipe")


def test_distillation_is_over_any_objective():
    batch, model, teacher = batch_of(4), linear(), Linear()
    both, _ = Distillation(objective=SquaredHinge(), weight=0.25).start(teacher)(model, batch, RUN)
    hinge, _ = SquaredHinge().start(teacher)(model, batch, RUN)
    alone, _ = Distillation(weight=1.0).start(teacher)(model, batch, RUN)
    assert both.item() == pytest.approx((0.75 * hinge + 0.25 * alone).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"weight": 2}, "weight of distillation is 2.*such as 0.5"),
        ({"weight": -0.1}, "weight of distillation is -0.1"),
        ({"temperature": 0.0}, "temperature is 0.0.*Try 1, 2 or 4"),
    ],
)
def test_distillation_out_of_range_is_refused(settings, words):
    with pytest.raises(InputError, match=words):
        Distillation(**settings)


def test_another_teacher_than_the_start_may_be_given():
    taught = Recipe(optimisation=replace(SGD, weight_decay=0.0), objective=Distillation(weight=1.0))
    start, teacher = linear(), Linear()
    own = taught(start, tiny(), rng=RUN)
    torch.testing.assert_close(own.fc.weight, start.fc.weight)  # it is its own teacher and has nothing to learn
    other = taught(start, tiny(), rng=RUN, teacher=teacher)
    before, after, wanted = (model(tiny().images(range(8))) for model in (start, other, teacher))
    assert distillation(after, wanted, 4.0) < 0.9 * distillation(before, wanted, 4.0)


def test_the_state_of_a_run_with_another_teacher_is_refused(tmp_path):
    recipe, path = Recipe(optimisation=SGD, objective=Distillation()), tmp_path / "state.pt"
    recipe(linear(), tiny(), rng=RUN, state=path, teacher=Linear())
    with pytest.raises(InputError, match="the state of another run"):
        recipe(linear(), tiny(), rng=RUN, state=path)


# ---- what a step is given ----------------------------------------------------------------------------------


SEEN: list[tuple[Batch, Tensor]] = []


@dataclass(frozen=True, kw_only=True)
class Watching(Objective):
    """Cross-entropy that notes its batches and what it would draw for them."""

    @property
    def label(self) -> str:
        return "watching"

    def start(self, teacher: nn.Module) -> Loss:
        own = CrossEntropy().start(teacher)

        def loss(model: nn.Module, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
            SEEN.append((batch, rng.uniform(())))
            assert rng.ids.tolist() == batch.ids.tolist()
            return own(model, batch, rng)

        return loss


def watched(batch_size: int, seed: int = 0) -> list[tuple[Batch, Tensor]]:
    SEEN.clear()
    Recipe(optimisation=replace(SGD, batch_size=batch_size), objective=Watching())(
        linear(), tiny(), rng=Rng(seed, RUN.ids)
    )
    return list(SEEN)


def test_a_batch_knows_its_examples_and_when_it_comes():
    data, seen = tiny(), watched(3)
    assert [batch.step for batch, _ in seen] == list(range(6))
    assert [batch.epoch for batch, _ in seen] == [0, 0, 0, 1, 1, 1]
    assert [batch.progress for batch, _ in seen] == pytest.approx([step / 6 for step in range(6)])
    for batch, _ in seen:
        assert torch.equal(batch.inputs, data.images(batch.ids))
        assert batch.labels.tolist() == data.labels[batch.ids].tolist()
    for epoch in (seen[:3], seen[3:]):
        assert sorted(example for batch, _ in epoch for example in batch.ids) == list(range(8))


def test_draws_are_keyed_by_example_epoch_and_seed_and_not_by_batch():
    def draws(batch_size: int, seed: int = 0) -> dict[tuple[int, int], float]:
        return {
            (batch.epoch, example): draw
            for batch, drawn in watched(batch_size, seed)
            for example, draw in zip(batch.ids.tolist(), drawn.tolist(), strict=True)
        }

    three = draws(3)
    assert len(set(three.values())) == 16
    assert three == draws(4)
    assert not set(three.values()) & set(draws(3, seed=1).values())


# ---- what an objective may keep ----------------------------------------------------------------------------


class Remembering(nn.Module):
    """A loss with a learned temperature, scaled up by how often it was asked."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, model: nn.Module, batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
        self.calls += 1
        logits = model(batch.inputs)
        return F.cross_entropy(self.scale * logits, batch.labels) * (1 + self.calls / 10), logits


STARTED: list[Remembering] = []


@dataclass(frozen=True, kw_only=True)
class Remembered(Objective):
    @property
    def label(self) -> str:
        return "remembered"

    def start(self, teacher: nn.Module) -> Loss:
        STARTED.append(Remembering())
        return STARTED[-1]


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_what_an_objective_learns_and_the_average_survive_a_stop(averaging, tmp_path, monkeypatch):
    monkeypatch.setattr("bitproof.train.state._SAVE_EVERY", 0.0)  # after every step
    recipe = Recipe(optimisation=SGD, objective=Remembered(), averaging=averaging)
    straight = recipe(linear(), tiny(), rng=RUN)
    assert STARTED[-1].calls == 6
    assert STARTED[-1].scale != 1
    expected = STARTED[-1].scale.item()

    class Stop(Exception):
        pass

    steps = 0

    def stop(examples, words):
        nonlocal steps
        steps += bool(words)
        if steps == 4:
            steps += 1
            raise Stop

    with pytest.raises(Stop):
        recipe(linear(), tiny(), rng=RUN, state=tmp_path / "state.pt", advance=stop)
    resumed = recipe(linear(), tiny(), rng=RUN, state=tmp_path / "state.pt")
    assert equal(straight, resumed)
    assert STARTED[-1].scale.item() == expected


# ---- penalties ---------------------------------------------------------------------------------------------


class _Halved(torch.autograd.Function):
    """sum(w^2) / 2 whose gradient is given in closed form."""

    @staticmethod
    def forward(ctx, weight):
        ctx.save_for_backward(weight)
        return weight.square().sum() / 2

    @staticmethod
    def backward(ctx, *grad_outputs):
        (weight,) = ctx.saved_tensors
        return grad_outputs[0] * weight


@dataclass(frozen=True, kw_only=True)
class Halved(Penalty):
    weight: float

    def __call__(self, model: nn.Module) -> Float[Tensor, ""]:
        return self.weight * _Halved.apply(model.fc.weight)  # pyright: ignore


def test_penalties_are_added_up_whatever_makes_their_gradient():
    """Two halves of an l2 penalty are a weight decay of SGD."""
    decayed = Recipe(optimisation=SGD)(linear(), tiny(), rng=RUN)
    free = replace(SGD, weight_decay=0.0)
    penalized = Recipe(optimisation=free, penalties=(Halved(weight=0.04), Halved(weight=0.06)))(
        linear(), tiny(), rng=RUN
    )
    torch.testing.assert_close(decayed.fc.weight, penalized.fc.weight, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(Recipe(optimisation=free)(linear(), tiny(), rng=RUN).fc.weight, decayed.fc.weight)


def test_clipping_levels_by_hand():
    model = bp.quantize(
        bp.load_model("digits_cnn"), bp.Scheme("pact", weight_bits=4, act_bits=4, first="same", last="same"),
        bp.load_data("digits", split="train", limit=32),
    )  # fmt: skip
    alphas = [p for p in bp.quant.quantizer_parameters(model)]
    assert len(alphas) == 4
    value = ClippingLevels(weight=0.5)(model)
    assert value.item() == pytest.approx(0.5 * sum(alpha.item() ** 2 for alpha in alphas), rel=1e-6)


@pytest.mark.parametrize("name", PENALTIES)
def test_every_penalty_is_a_number_that_is_zero_where_there_is_nothing_to_penalize(name):
    assert PENALTIES[name](weight=0.5)(nn.Sequential()).item() == 0


# ---- averaging ---------------------------------------------------------------------------------------------


def test_the_average_by_hand():
    """m <- d m + (1 - d) w with d = min(decay, (1 + t) / (10 + t)); the steps themselves are those without it."""
    weights = []
    recipe = Recipe(optimisation=replace(SGD, batch_size=8, epochs=4))
    last = recipe(linear(), tiny(), rng=RUN, on_epoch=lambda _, m: weights.append(m.fc.weight.detach().clone()))
    expected = linear().fc.weight.detach()
    for step, weight in enumerate(weights):
        decay = min(0.25, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    shown = []
    averaged = replace(recipe, averaging=0.25)(
        linear(), tiny(), rng=RUN, on_epoch=lambda _, m: shown.append(m.fc.weight.detach().clone())
    )
    torch.testing.assert_close(averaged.fc.weight.detach(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(shown[-1], averaged.fc.weight)
    assert not torch.allclose(last.fc.weight, averaged.fc.weight)


def test_buffers_are_the_last_steps_and_epochs_are_judged_by_the_average():
    data, start = bp.load_data("digits", split="train", limit=128), bp.load_model("digits_cnn")
    recipe = Recipe(optimisation=Optimisation(epochs=2), averaging=0.9, holdout=64)
    shown = []
    averaged = recipe(start, data, rng=RUN, on_epoch=lambda h, m: shown.append((h[-1], m)))
    plain = replace(recipe, averaging=0.0, holdout=64)
    models = []
    plain(start, data, rng=RUN, on_epoch=lambda _, m: models.append(bp.freeze(m)))
    for (_, smooth), model in zip(shown, models, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(smooth.buffers(), model.buffers(), strict=True))
        assert not equal(smooth, model)
    best = max(range(2), key=lambda i: (shown[i][0].holdout_accuracy, -i))
    assert equal(averaged, shown[best][1])


@pytest.mark.parametrize("averaging", [-0.1, 1.0])
def test_an_average_that_keeps_nothing_or_everything_is_refused(averaging):
    with pytest.raises(InputError, match="averaging is .*such as 0.999"):
        Recipe(averaging=averaging)
