"""Catastrophic overfitting and divergence: seen, named, and gone on from."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.experiment import made_in, make
from bitproof.settings import parse
from bitproof.train import NFGSM, OBJECTIVES, RECIPES, Adversarial, Alarm, Diverged, Free, RandomBudget, standard
from bitproof.train import alarm as alarms
from bitproof.train.alarm import Guard, remedies, rings
from bitproof.train.divergence import PATIENCE, chance

RUN = Rng(0, np.zeros(1, np.int64))


@pytest.fixture(scope="module")
def digits():
    return bp.load_data("digits", split="train", limit=300)


@pytest.fixture(scope="module")
def network():
    return bp.load_model("digits_cnn")


def equal(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize(
    ("fgsm", "pgd", "best", "expected"),
    [
        (0.45, 0.40, 0.45, False),  # healthy
        (0.90, 0.02, 0.45, True),  # collapsed
        (0.60, 0.35, 0.60, True),  # on the way, by the best so far
        (0.60, 0.35, 0.40, False),
        (0.15, 0.02, 0.15, False),  # at the beginning, when nothing is learned yet
        (0.10, 0.10, 0.45, False),  # worse at both: another trouble
    ],
)
def test_when_the_alarm_rings(fgsm, pgd, best, expected):
    assert rings(fgsm, pgd, best) == expected


def test_what_a_run_goes_on_with():
    assert [type(other) for other in remedies(OBJECTIVES["fgsm"]())] == [NFGSM, Adversarial]
    assert [other.label for other in remedies(NFGSM(eps=4 / 255, gradient="twin"))] == [
        "cross-entropy on pgd-2 linf 4/255 step=0.5eps along twin"
    ]
    assert len(remedies(NFGSM(noise=0.5))) == len(remedies(Free())) == len(remedies(RandomBudget())) == 2
    for several in ("pgd", "trades", "cross-entropy", "distillation"):
        assert remedies(OBJECTIVES[several]()) == ()
    assert remedies(RandomBudget(attack="pgd")) == ()


def looks(monkeypatch, answers):
    """The alarm sees these accuracies, FGSM before PGD, instead of its own."""
    left = iter(answers)
    monkeypatch.setattr(Guard, "_accuracy", lambda self, model, attack: next(left, 0.3))


def noting(monkeypatch, name, seen):
    """Write down a weight of the model whenever the alarm has called the function `name`."""
    real = getattr(alarms, name)

    def noted(run):
        real(run)
        seen.append(run.model.state_dict()["backbone.linear.weight"].clone())

    monkeypatch.setattr(alarms, name, noted)


HEALTHY, COLLAPSED = (0.5, 0.45), (0.9, 0.0)


def test_an_alarm_names_the_step_goes_back_and_on_with_n_fgsm(digits, network, monkeypatch):
    """After the alarm the run is where it was at the last good look, and every later step is one of N-FGSM."""
    looks(monkeypatch, [*HEALTHY, *COLLAPSED])
    states = {"keep": [], "go_back": []}
    for name, seen in states.items():
        noting(monkeypatch, name, seen)
    steps, images = [], NFGSM._images
    monkeypatch.setattr(NFGSM, "_images", lambda self, *args: steps.append(self.eps) or images(self, *args))
    history = []
    recipe = standard(epochs=2, batch_size=50, objective=OBJECTIVES["fgsm"](eps=0.1), alarm=Alarm(every=2))
    recipe(network, digits, rng=RUN, on_epoch=lambda h, _: history.append(h[-1]))
    assert [epoch.alarm for epoch in history] == [3, None]
    assert torch.equal(states["go_back"][0], states["keep"][0])
    assert steps == [0.1] * 8


def test_two_alarms_end_in_pgd_2_and_no_more_looks(digits, network, monkeypatch):
    looks(monkeypatch, [*COLLAPSED, *COLLAPSED, *COLLAPSED])
    history = []
    recipe = standard(epochs=2, batch_size=50, objective=OBJECTIVES["fgsm"](eps=0.1), alarm=Alarm(every=1))
    recipe(network, digits, rng=RUN, on_epoch=lambda h, _: history.append(h[-1]))
    assert [epoch.alarm for epoch in history] == [0, None]


def test_without_an_alarm_nobody_looks(digits, network, monkeypatch):
    looks(monkeypatch, iter(()))
    monkeypatch.setattr(Guard, "_accuracy", lambda *_: pytest.fail("it looked"))
    settings = {"epochs": 1, "batch_size": 50}
    standard(**settings, objective=OBJECTIVES["fgsm"](), alarm=None)(network, digits, rng=RUN)
    standard(**settings, objective=OBJECTIVES["pgd"](), alarm=Alarm(every=1))(network, digits, rng=RUN)


def test_looking_changes_nothing_but_the_clock(digits, network):
    settings = {"epochs": 1, "batch_size": 50, "objective": NFGSM(eps=0.05), "averaging": 0.5}
    watched, alone = (standard(**settings, alarm=alarm)(network, digits, rng=RUN) for alarm in (Alarm(every=1), None))
    assert equal(watched, alone)


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_a_run_that_is_stopped_after_an_alarm_ends_with_the_same_weights(
    averaging, digits, network, tmp_path, monkeypatch
):
    monkeypatch.setattr("bitproof.train.state._SAVE_EVERY", 0.0)
    recipe = standard(
        epochs=2, batch_size=50, objective=OBJECTIVES["fgsm"](eps=0.1), alarm=Alarm(every=2), averaging=averaging
    )
    looks(monkeypatch, [*HEALTHY, *COLLAPSED])
    straight = recipe(network, digits, rng=RUN)

    class Stop(Exception):
        pass

    done = []

    def stop(examples, words):
        done.append(bool(words))
        if sum(done) == 7:
            raise Stop

    looks(monkeypatch, [*HEALTHY, *COLLAPSED])
    with pytest.raises(Stop):
        recipe(network, digits, rng=RUN, state=tmp_path / "state.pt", advance=stop)
    looks(monkeypatch, [])  # had it forgotten the alarm, it would go on with FGSM
    assert equal(straight, recipe(network, digits, rng=RUN, state=tmp_path / "state.pt"))


# ---- NC --------------------------------------------------------------------------------------------------------


def test_chance_by_hand():
    even = np.arange(10_000) % 10
    assert chance(even) == pytest.approx(0.1 + 3 * 0.003)
    assert chance(np.array([0, 1, 0, 1])) == 0  # three deviations are everything
    assert chance(np.zeros(1000, np.int64)) == 0


@pytest.mark.parametrize("objective", ["cross-entropy", "n-fgsm", "pgd"])
def test_a_run_that_explodes_says_when_and_has_its_last_sound_model(objective, digits, network):
    """Epoch 2 starts at a rate that no weights stand."""
    recipe = standard(
        epochs=2, optimizer="sgd", learning_rate=1e-3, schedule="steps", milestones=(0.5,), decay=1000.0,
        weight_decay=1e5, objective=OBJECTIVES[objective](),
    )  # fmt: skip
    after = []
    with pytest.raises(Diverged, match="the (loss is|weights are) .* in epoch 2.*smaller learning_rate") as error:
        recipe(network, digits, rng=RUN, on_epoch=lambda h, model: after.append(replace_state(model)))
    assert error.value.epoch == 2 and len(after) == 1
    assert all(torch.equal(value, after[0][name]) for name, value in error.value.model.state_dict().items())
    assert not error.value.model.training


def replace_state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_a_run_at_chance_is_given_up(digits, network):
    recipe = standard(epochs=PATIENCE + 2, learning_rate=1e-12, schedule="constant")
    history = []
    with pytest.raises(Diverged, match=f"in epoch {PATIENCE}, and was no better in the {PATIENCE - 1} before"):
        recipe(network, digits, rng=RUN, on_epoch=lambda h, _: history.append(h[-1]))


def test_nc_is_kept_and_a_grid_goes_on(digits, network, tmp_path):
    recipe = standard(epochs=2, optimizer="sgd", learning_rate=1000.0, schedule="constant")
    grid = {}
    for name, how in {"nc": recipe, "fine": standard(epochs=1), "nc again": recipe}.items():
        try:
            grid[name] = make(how, network, digits, architecture="digits_cnn", folder=tmp_path, progress=False)
        except Diverged as nc:
            grid[name] = nc
    assert isinstance(grid["fine"], nn.Module)
    assert isinstance(grid["nc"], Diverged) and isinstance(grid["nc again"], Diverged)
    assert equal(grid["nc"].model, grid["nc again"].model)
    assert equal(grid["nc"].model, network)  # its first epoch exploded
    found = {record.diverged: record for record in made_in(tmp_path)}
    assert found[1].finished and "in epoch 1" in found[1].why and found[None].why is None


def test_alarms_out_of_range_are_refused():
    with pytest.raises(InputError, match="every is 0"):
        Alarm(every=0)
    assert replace(standard(), alarm=None) == standard(alarm=None) == parse("standard:alarm=none", RECIPES, "recipe")
    assert parse("standard:alarm=alarm(every=20)", RECIPES, "recipe").alarm == Alarm(every=20)
    with pytest.raises(InputError, match="unknown alarm 'off'"):
        parse("standard:alarm=off", RECIPES, "recipe")
