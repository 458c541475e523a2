"""Shifts, sequences and conditions of the model."""

import copy

import numpy as np
import pytest

import bitproof as bp
from bitproof.core.rng import Rng
from bitproof.metrics import flips
from bitproof.settings import describe, digest
from bitproof.shifts import GaussianNoise, GaussianNoiseSequence, RotateSequence
from bitproof.store import Store
from bitproof.subjects.fingerprint import fingerprint
from trained_digits import run


def test_shifted_images_are_the_same_for_all_models(models, data):
    result = run(models, data, [GaussianNoise(severity=3)])
    noisy = [c for c in result.cells if c.condition.kind == "corruption"]
    assert np.array_equal(noisy[0].pictures.images, noisy[1].pictures.images)
    assert np.array_equal(noisy[0].linf, noisy[1].linf)


def test_a_condition_of_the_model_is_judged_like_a_shift(models, data):
    before = {name: fingerprint(model) for name, model in models.items()}
    result = run(models, data, ["inference:dtype=bfloat16"])
    table = result.table().set_index(["model", "condition"])
    assert table.loc[("float", "inference bfloat16"), "kind"] == "systematic"
    cells = {(c.model.name, c.condition.kind): c for c in result.cells}
    expected = copy.deepcopy(models["float"]).eval().bfloat16()(data.images(range(60)).bfloat16()).float()
    found = cells["float", "systematic"]
    np.testing.assert_array_equal(found.predictions, expected.argmax(1).numpy())
    np.testing.assert_allclose(found.confidences, expected.softmax(1).amax(1).detach().numpy(), atol=1e-6)
    assert (found.linf == 0).all() and (found.confidences != cells["float", "clean"].confidences).any()
    assert {name: fingerprint(model) for name, model in models.items()} == before


def test_a_sequence_keeps_the_prediction_in_every_frame(tmp_path):
    data = bp.load_data("digits", limit=6)
    model = bp.load_model("digits_cnn")
    sequences = [RotateSequence(difficulty=2, profile="scaled"), GaussianNoiseSequence(difficulty=3)]
    result = bp.evaluate(model, data, conditions=sequences, store=tmp_path / "runs.db", batch_size=64, progress=False)
    with Store(tmp_path / "runs.db", readonly=True) as store:
        cells = store.query(kind="sequence")
    rng = Rng(0, data.ids, (digest(describe(sequences[0])),))
    film = sequences[0](data.images(range(6)), rng=rng)
    expected = model.eval()(film.flatten(0, 1)).argmax(1).reshape(6, 31)
    np.testing.assert_array_equal(cells[0].frames, expected.numpy())
    np.testing.assert_array_equal(cells[0].predictions, cells[0].frames[:, 0])
    summary = result.summary().set_index(["metric", "condition"])["value"]
    rates = [flips(cells[0].frames, compared="previous", step=2), flips(cells[1].frames, compared="first")]
    assert summary["fp", "sequence rotate 2"] == pytest.approx(rates[0].mean())
    assert summary["fp", "sequence gaussian noise 3"] == pytest.approx(rates[1].mean())
    assert summary["mfp", ""] == pytest.approx(np.mean(rates))
    result.report(tmp_path / "report.html")
