"""Made models: made once, found again, gone on with after a kill, and never used damaged."""

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.errors import InputError
from bitproof.experiment import made, made_beside, made_in, make
from bitproof.settings import build
from bitproof.subjects.fingerprint import fingerprint
from bitproof.train import Distillation, Objective, Recipe, qat, standard
from bitproof.train.objectives.base import Loss, of_logits

RUN = bp.Rng(0, np.zeros(1, np.int64))
RECIPE = standard(epochs=2, holdout=28)


@pytest.fixture(scope="module")
def digits():
    return bp.load_data("digits", split="train", limit=92)


@pytest.fixture(scope="module")
def network():
    return bp.load_model("digits_cnn")


def equal(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def made_of(network, digits, folder, recipe: Recipe = RECIPE, **settings) -> nn.Module:
    return make(recipe, network, digits, architecture="digits_cnn", folder=folder, progress=False, **settings)


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a model that is there was trained again")

    return lambda: monkeypatch.setattr(made, "train_in", refuse)


def test_a_model_is_made_once_and_found_again(digits, network, tmp_path, no_training):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = made_of(network, digits, tmp_path / "runs.db.made")
    no_training()
    found = made_of(network, digits, tmp_path / "runs.db.made")
    assert equal(first, found)
    assert equal(found, RECIPE(network, digits, rng=RUN))
    assert not found.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("scheme", ["lsq+:w4a4", "pact:w4a4", "dorefa:w2a2g6", "binaryconnect:w1a32,stochastic=true"])
def test_what_is_found_is_what_was_trained(scheme, digits, network, tmp_path):
    """Also its structure: a store takes one for the other."""
    recipe = qat(scheme=bp.Scheme.parse(scheme), epochs=1)
    opened, trained = made_of(network, digits, tmp_path, recipe), recipe(network, digits, rng=RUN)
    assert fingerprint(opened) == fingerprint(trained)
    assert opened.scheme == trained.scheme
    images = digits.images(range(8))
    assert torch.equal(opened(images), trained(images))


@dataclass(frozen=True, kw_only=True)
class Summed(Objective):
    """An objective that bitproof does not know."""

    label = "summed"

    def start(self, teacher: nn.Module) -> Loss:
        return of_logits(partial(nn.functional.cross_entropy, label_smoothing=0.1))


def test_an_objective_of_ones_own_counts_with_its_code(digits, network, tmp_path):
    made_of(network, digits, tmp_path, replace(RECIPE, objective=Summed()))
    (record,) = made_in(tmp_path)
    assert record.setting["objective"]["source"]
    assert build(Recipe, record.setting) == replace(RECIPE, objective=Summed())


def test_a_network_of_ones_own_needs_no_name_to_be_found(digits, tmp_path):
    torch.manual_seed(0)
    own = nn.Sequential(nn.Conv2d(1, 4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    recipe = qat(epochs=1)
    opened = make(recipe, own, digits, architecture="mine", folder=tmp_path, progress=False)
    assert equal(opened, recipe(own, digits, rng=RUN))


def test_everything_that_a_model_follows_from_is_in_its_address(digits, network, tmp_path):
    variants = [
        {},
        {"recipe": replace(RECIPE, holdout=29)},
        {"recipe": replace(RECIPE, optimisation=replace(RECIPE.optimisation, learning_rate=0.011))},
        {"seed": 1},
        {"network": bp.load_model("digits_cnn", seed=1)},
        {"digits": bp.load_data("digits", split="train", limit=91)},
        {"teacher": bp.load_model("digits_cnn", seed=2)},
    ]
    for variant in variants:
        made_of(**{"network": network, "digits": digits, "folder": tmp_path, **variant})
    assert len({record.key for record in made_in(tmp_path)}) == len(variants)


def test_a_teacher_that_was_made_teaches(digits, network, tmp_path):
    teacher = made_of(network, digits, tmp_path)
    recipe = replace(RECIPE, objective=Distillation(weight=1.0))
    student = made_of(network, digits, tmp_path, recipe, teacher=teacher)
    assert equal(student, recipe(network, digits, rng=RUN, teacher=teacher))
    assert not equal(student, recipe(network, digits, rng=RUN, teacher=network))
    (record,) = (record for record in made_in(tmp_path) if record.teacher)
    assert record.teacher == fingerprint(teacher)


def test_the_list_says_what_is_there(digits, network, tmp_path):
    folder = made_beside(tmp_path / "runs.db")
    assert folder.name == "runs.db.made"
    assert made_in(folder) == []
    recipe = standard(epochs=4, holdout=28)
    first = made_of(network, digits, folder, recipe, seed=3)
    (record,) = made_in(folder)
    with (folder / record.key / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    best = max(history, key=lambda row: float(row["holdout_accuracy"]))
    assert best["number"] != "1", "this test needs a best epoch that is not the first: change its settings"
    assert record.finished
    assert (record.architecture, record.recipe) == ("digits_cnn", "cross-entropy, 4 epochs of adamw")
    assert (record.data, record.split, record.examples, record.seed) == ("digits", "train", 92, 3)
    assert (record.epochs, record.done) == (4, 4)
    assert record.accuracy == float(best["accuracy"])
    assert record.holdout_accuracy == float(best["holdout_accuracy"])
    assert record.environment["packages"]["torch"]
    assert record.written.endswith("+00:00")
    files = {path.name for path in (folder / record.key).iterdir()}
    assert files == {"model.safetensors", "history.csv", "record.json"}
    opened = bp.load_model("digits_cnn", weights=folder / record.key / "model.safetensors")
    assert equal(opened, first)


LONG = qat(epochs=20, holdout=28)
SCRIPT = """
import conftest  # which checks shapes here as there: a function that is checked is another one to a fingerprint
import bitproof as bp
from bitproof.experiment import make
from bitproof.train import qat
data, start = bp.load_data("digits", split="train", limit=92), bp.load_model("digits_cnn")
make(qat(epochs=20, holdout=28), start, data, architecture="digits_cnn", folder="made", progress=False)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(digits, network, tmp_path, one_thread):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 120
    while not (records := made_in(tmp_path / "made")) or records[0].done < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (record,) = made_in(tmp_path / "made")
    assert not record.finished
    assert 2 <= record.done < 20
    seconds = (tmp_path / "made" / record.key / "history.csv").read_text().splitlines()[:2]
    resumed = made_of(network, digits, tmp_path / "made", LONG)
    assert equal(resumed, LONG(network, digits, rng=RUN))
    (finished,) = made_in(tmp_path / "made")
    assert finished.finished
    assert finished.key == record.key
    assert (tmp_path / "made" / record.key / "history.csv").read_text().splitlines()[:2] == seconds  # not made anew


def test_a_run_stopped_between_model_and_record_only_writes_the_record(digits, network, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(made, "environment", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            made_of(network, digits, tmp_path)
    (record,) = made_in(tmp_path)
    assert (record.finished, record.done) == (False, 2)
    history = (tmp_path / record.key / "history.csv").read_text()
    made_of(network, digits, tmp_path)
    (record,) = made_in(tmp_path)
    assert record.finished
    assert record.accuracy is not None
    assert (tmp_path / record.key / "history.csv").read_text() == history  # with the seconds of the first run


def flip(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("model.safetensors", flip, "other weights than were written"),
        ("model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-7]), "cannot be read"),
        ("model.safetensors", lambda path: path.unlink(), "model.safetensors"),
        ("record.json", lambda path: path.write_text("{"), "record.json' is damaged"),
        ("record.json", lambda path: path.write_text("{}"), "record.json' is damaged"),
        ("record.json", lambda path: path.write_text(path.read_text().replace('"schema": 2', '"schema": 9')), "layout"),
    ],
)
def test_damaged_files_are_named_and_the_remedy_works(file, damage, words, digits, network, tmp_path):
    first = made_of(network, digits, tmp_path)
    (record,) = made_in(tmp_path)
    place = tmp_path / record.key
    damage(place / file)
    with pytest.raises(InputError, match=words) as error:
        made_of(network, digits, tmp_path)
    assert f"Delete the folder {str(place)!r}" in error.value.remedy
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
    assert equal(first, made_of(network, digits, tmp_path))


def test_a_folder_that_cannot_be_made_is_refused(digits, network, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        made_of(network, digits, tmp_path / "file")
