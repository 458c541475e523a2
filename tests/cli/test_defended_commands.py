"""What only Python had: universal perturbations, QAA's surrogate, incremental certificates, and noise, by command."""

import json

import numpy as np
import pytest
import torch

import bitproof as bp
from bitproof.conditions import UniversalPatch, UniversalPerturbation
from bitproof.defences import Smoothing, certified_rows, incremental
from bitproof.quant import UnderNoise
from bitproof.subjects import Subject
from bitproof.train import Surrogate

DIGITS = ["digits_cnn", "--data", "digits", "--limit", 8, "--calibration-count", 64]


@pytest.fixture
def network(weights):
    return bp.load_model("digits_cnn", weights=weights)


@pytest.fixture
def train():
    return bp.load_data("digits", split="train", limit=64)


def stored(path) -> list:
    with bp.Store(path, readonly=True) as store:
        return store.query()


@pytest.mark.slow
def test_a_universal_perturbation_is_made_on_other_images_and_shown_to_all_models(
    run, weights, network, train, tmp_path
):
    store = tmp_path / "s.db"
    command = ["evaluate", *DIGITS, "--weights", weights, "--scheme", "w4a4", "--suite", "clean", "--store", store]
    code, _, err = run(*command, "--universal", "perturbation:eps=0.1,steps=5", "--universal", "patch:side=3,steps=5")
    assert code == 0, err
    found = [cell for cell in stored(store) if cell.condition.kind == "universal"]
    assert {cell.model.name for cell in found} == {"float", "affine w4a4"} and len(found) == 4
    makers = [UniversalPerturbation(eps=0.1, steps=5, name="float"), UniversalPatch(side=3, steps=5, name="float")]
    conditions = [maker(network, train) for maker in makers]
    tested = {"float": network, "affine w4a4": bp.quantize(network, "w4a4", train)}
    same = bp.evaluate(
        tested, bp.load_data("digits", limit=8), suite="clean", conditions=conditions, store=store, progress=False
    )
    assert same.computed == 0  # the same perturbation, of the same images
    code, _, err = run(*command, "--universal", "perturbation:norm=l1")
    assert code == 2 and "unknown norm of a universal perturbation 'l1'" in err


@pytest.mark.slow
def test_a_surrogate_is_a_source_of_transfers(run, weights, network, train, tmp_path):
    store = tmp_path / "s.db"
    command = ["evaluate", *DIGITS, "--weights", weights, "--suite", "clean", "--store", store]
    command += ["--surrogate", "qaa:bits=2+4,calibration=32", "--transfer", "fgsm:eps=0.1"]
    code, _, err = run(*command)
    assert code == 0, err
    sources = {(c.condition.source, c.model.name) for c in stored(store) if c.condition.kind == "transfer"}
    assert sources == {(a, b) for a in ("float", "surrogate") for b in ("float", "surrogate")}
    made = Surrogate(bits=(2, 4), calibration=32)(network, train)
    own = next(c.model for c in stored(store) if c.model.name == "surrogate")
    assert own.fingerprint == Subject.of(made).record("surrogate").fingerprint
    code, _, err = run("evaluate", *DIGITS, "--surrogate", "qaa")
    assert code == 2 and "--surrogate qaa without --transfer" in err


@pytest.mark.filterwarnings("ignore:noise of")
def test_copies_are_certified_from_few_draws(run, weights, network, train):
    command = ["certify", *DIGITS, "--weights", weights, "--scheme", "w8a8", "--scheme", "w3a3"]
    command += ["--smoothing", "smoothing:sigma=0.2,draws=100,first=20", "--paired", 40, "--calibration-noise", 0.2]
    code, out, err = run(*command, "--radius", 0, "--radius", 0.1, "--json")
    assert code == 0, err
    smoothing, noisy = Smoothing(sigma=0.2, draws=100, first=20), UnderNoise(images=train, sigma=0.2)
    copies = {f"affine {bits}": bp.quantize(network, bits, noisy) for bits in ("w8a8", "w3a3")}
    data = bp.load_data("digits", limit=8)
    rows = certified_rows(smoothing, network, copies, data, paired=40, radii=[0.0, 0.1])
    assert json.loads(out) == rows
    assert [(row["model"], row["draws"]) for row in rows] == [("float", 100), ("affine w8a8", 40), ("affine w3a3", 40)]
    own, _ = incremental(smoothing, network, {}, data.images(np.arange(8)))
    held = own.radii * (own.classes == data.labels)
    assert rows[0]["certified at 0.1"] == (held >= 0.1).mean() and rows[0]["radius"] == round(held.mean(), 4)
    assert rows[1]["radius"] <= rows[0]["radius"]
    code, out, _ = run(*command)
    assert code == 0 and "smoothing 0.2, n = 8, alpha 0.001" in out and "affine w3a3" in out
    code, _, err = run(*command, "--scheme", "w8a8")
    assert code == 2 and "two models are called 'affine w8a8'" in err
    code, _, err = run(*command[:-2], "--smoothing", "squeezing")
    assert code == 2 and "certificates are those of smoothing" in err


def test_calibration_under_noise_reaches_the_checkpoint(run, weights, network, train, tmp_path):
    command = ["quantize", "digits_cnn", "--weights", weights, "--data", "digits", "--calibration-count", 64]
    code, _, err = run(*command, "--scheme", "w4a4", "--calibration-noise", 0.3, "-o", tmp_path / "q.safetensors")
    assert code == 0, err
    opened = bp.load_model("digits_cnn", weights=tmp_path / "q.safetensors")
    images = bp.load_data("digits", limit=4).images(np.arange(4))
    noisy = bp.quantize(network, "w4a4", UnderNoise(images=train, sigma=0.3))
    assert torch.equal(opened(images), noisy(images))
    assert not torch.equal(opened(images), bp.quantize(network, "w4a4", train)(images))
