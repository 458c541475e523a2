"""Evaluations against plain loops, and against themselves when they go on."""

import copy

import numpy as np
import pytest
import torch

import bitproof as bp
from bitproof.attacks import FGSM, PGD
from bitproof.conditions.suites import FEW, corruptions, resizes
from bitproof.errors import InputError
from bitproof.experiment import Clean, Experiment
from bitproof.pictures.pixels import digests
from bitproof.records import ARRAYS
from bitproof.shifts import GaussianNoise, GaussianNoiseSequence, Inference, Pipeline
from bitproof.store import Store
from bitproof.subjects.fingerprint import fingerprint
from trained_digits import run


def test_accuracy_is_what_a_plain_loop_finds(models, data):
    result = run(models, data, [Clean()])
    images = data.images(range(len(data)))
    for name, model in models.items():
        expected = (model(images).argmax(1).numpy() == data.labels).mean()
        row = result.table().set_index("model").loc[name]
        assert row["accuracy"] == pytest.approx(expected)
    assert result.table()["accuracy"].min() > 0.8


def test_cells_hold_what_was_tested(models, data):
    noise, attack = GaussianNoise(severity=5), PGD(norm="l2", eps=0.5, steps=4)
    result = run(models, data, [noise, attack])
    clean, noisy, attacked = result.cells[:3]
    assert [c.condition.kind for c in (clean, noisy, attacked)] == ["clean", "corruption", "attack"]
    assert not clean.linf.any()
    shown = noisy.pictures.images.astype(np.float32) - clean.pictures.images
    np.testing.assert_allclose(np.abs(shown).max((1, 2, 3)), noisy.linf[:8], atol=2e-3)
    right = clean.correct
    assert (attacked.l2[right] <= 0.5 + 1e-6).all()
    assert not attacked.l2[~right].any()  # what is lost already is not attacked
    assert not attacked.correct[~right].any()
    assert attacked.forwards <= right.sum() * 5
    assert attacked.backwards <= right.sum() * 4
    assert (clean.forwards, clean.backwards) == (60, 0)


def test_predictions_do_not_depend_on_the_batch_size(models, data):
    data = bp.load_data("digits", split="test", limit=20)
    conditions = [*corruptions(data, FEW, (3,)), *resizes(data)]
    results = [run(models, data, conditions, batch_size=size) for size in (1, 7)]
    for cells in zip(*(r.cells for r in results), strict=True):
        for other in cells[1:]:
            assert np.array_equal(cells[0].predictions, other.predictions), other.condition.label
            assert np.array_equal(cells[0].linf, other.linf), other.condition.label


def test_conditions_may_be_text(models, data):
    labels = [c.condition.label for c in run(models["float"], data, ["fgsm:eps=4/255", FGSM(eps=2 / 255)]).cells]
    assert labels == ["clean", "fgsm linf 4/255", "fgsm linf 2/255"]


def test_the_seed_decides_the_noise(models, data):
    cells = [run(models, data, [GaussianNoise()], seed=seed).cells[1] for seed in (0, 0, 1)]
    assert np.array_equal(cells[0].linf, cells[1].linf)
    assert not np.array_equal(cells[0].linf, cells[2].linf)


def test_models_are_left_as_they_were(models, data):
    model = copy.deepcopy(models["w4a4"]).train()
    before = fingerprint(model)
    run(model, data, [FGSM()])
    assert all(m.training for m in model.modules())
    assert fingerprint(model) == before
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_second_run_computes_only_what_is_missing(models, data, tmp_path):
    path = tmp_path / "runs.db"
    first = run(models, data, [FGSM()], store=path)
    assert (first.computed, first.reused) == (4, 0)
    again = run(models, data, [FGSM(), GaussianNoise()], store=path)
    assert (again.computed, again.reused) == (2, 4)
    third = run({"renamed": models["w4a4"]}, data, [FGSM()], store=path)
    assert (third.computed, third.reused) == (0, 2)
    assert {c.model.name for c in third.cells} == {"renamed"}
    changed = copy.deepcopy(models["float"])
    with torch.no_grad():
        changed.backbone.get_parameter(next(iter(dict(changed.backbone.named_parameters())))).mul_(1.01)
    assert run(changed, data, [FGSM()], store=path).computed == 2


def test_an_interrupted_run_ends_like_an_uninterrupted_one(models, data, tmp_path):
    conditions = [FGSM(), GaussianNoise(), PGD(steps=3)]

    class Stop(Exception):
        pass

    class Interrupted(Store):
        left = 3

        def append(self, cell, run):
            if self.left == 0:
                raise Stop
            self.left -= 1
            Store.append(self, cell, run)

    path = tmp_path / "runs.db"
    with Interrupted(path) as store, pytest.raises(Stop):
        run(models, data, conditions, store=store)
    resumed = run(models, data, conditions, store=path)
    assert (resumed.computed, resumed.reused) == (5, 3)
    whole = run(models, data, conditions)
    for a, b in zip(resumed.cells, whole.cells, strict=True):
        assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ARRAYS)
    columns = [c for c in whole.table().columns if c != "seconds"]
    assert resumed.table()[columns].equals(whole.table()[columns])


def test_a_model_under_two_names_is_tested_once(models, data):
    result = run({"one": models["float"], "two": models["float"]}, data, [FGSM()])
    assert (result.computed, result.reused) == (2, 0)
    assert np.array_equal(result.cells[0].predictions, result.cells[2].predictions)


def test_mistakes_are_explained(models, data, tmp_path):
    with pytest.raises(InputError, match="unknown suite 'quik'.*Did you mean 'quick'"):
        bp.evaluate(models, data, suite="quik")
    with pytest.raises(InputError, match="no models"):
        Experiment(models={}, data=data, conditions=())
    with pytest.raises(InputError, match="batch_size is 0"):
        run(models, data, [], batch_size=0)
    with pytest.raises(InputError, match="unknown condition 'fgms'.*Did you mean 'fgsm'"):
        run(models, data, ["fgms"])


@pytest.mark.slow
def test_each_cell_records_the_pixels_that_the_models_saw(models, data, tmp_path):
    conditions = [
        GaussianNoise(severity=1),
        Pipeline(decoder="opencv"),
        Pipeline(resize="opencv-nearest"),
        Inference(dtype="bfloat16"),
        FGSM(eps=1 / 255),
        GaussianNoiseSequence(profile="scaled"),
        GaussianNoiseSequence(profile="scaled", difficulty=2),
    ]
    result = run(models, data, conditions, batch_size=16)
    by_label = {c.condition.label: c for c in result.cells if c.model.name == "float"}
    images = data.images(range(len(data)))
    np.testing.assert_array_equal(by_label["clean"].digests, digests(images))
    assert by_label["inference bfloat16"].digests is None and by_label["fgsm linf 1/255"].digests is None
    assert result.same_pixels().to_dict("records") == [
        {"condition": "decoder opencv", "like": "clean", "equal": 60, "n": 60}
    ]
    page = result.report(tmp_path / "report.html").read_text()
    assert "decoder opencv gave the same pixels as clean on all 60 images" in page


def test_settings_that_share_a_label_are_told_apart(models, data):
    attacks = [PGD(eps=eps / 255, steps=2, momentum=size) for eps in (4, 8) for size in (0.5, 1.0)]
    result = run(models, data, attacks, transfer=attacks[:2])
    expected = {f"mi-fgsm-2 linf {eps}/255 (momentum={size})" for eps in (4, 8) for size in (0.5, 1.0)}
    assert set(result.table()["condition"]) >= expected
    assert set(result.transfer()["attack"]) == {f"mi-fgsm-2 linf 4/255 to the end (momentum={s})" for s in (0.5, 1.0)}
    assert len(result.table()) == len(result.cells) == len(models) * (1 + 4 + 2 * len(models))
