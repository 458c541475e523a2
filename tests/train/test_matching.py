"""Matching a teacher's features, shares of the data, and li2024's grid."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.experiment import made_in
from bitproof.experiment.li2024 import Grid
from bitproof.train import RECIPES, Matching, changed, qat, standard
from bitproof.train.batches import Batch, part, stratified
from bitproof.train.objectives.matching import features_of, last_layer
from bitproof.train.papers import li2024, xiao2023

RUN = Rng(0, np.zeros(1, np.int64))


@pytest.fixture(scope="module")
def digits():
    return bp.load_data("digits", split="train", limit=200)


@pytest.fixture(scope="module")
def network():
    return bp.load_model("digits_cnn")


def batch_of(data, count):
    rows = range(count)
    return Batch(
        inputs=data.images(rows), labels=torch.from_numpy(data.labels[:count]), ids=data.ids[:count],
        epoch=0, step=0, progress=0,
    )  # fmt: skip


def test_features_are_what_the_last_layer_reads(digits, network):
    images = digits.images(range(4))
    features, logits = features_of(network, images, last_layer(network, images))
    torch.testing.assert_close(features, network.backbone.features(network.normalize(images)).flatten(1))
    torch.testing.assert_close(network.backbone.linear(features), logits)
    quantized = bp.quantize(network, bp.Scheme.parse("w4a4,last=same"), images)
    features, _ = features_of(quantized, images, last_layer(quantized, images))
    assert len(features.unique()) > 16  # before the last layer's own quantizer


def test_a_copy_of_the_teacher_has_loss_minus_one(digits, network):
    """-cos = -1 for every example, and .005 of the cross-entropy."""
    batch = batch_of(digits, 16)
    value, logits = Matching().start(network)(network, batch, RUN)
    own = nn.functional.cross_entropy(logits, batch.labels)
    assert value.item() == pytest.approx(-1 + 0.005 * own.item(), abs=1e-5)


def test_the_cosine_by_hand(digits, network):
    other = bp.load_model("digits_cnn", seed=1)
    batch = batch_of(digits, 16)
    value, _ = Matching(labels=0).start(other)(network, batch, RUN)
    a, b = (features_of(model, batch.inputs, "backbone.linear")[0] for model in (network, other))
    assert value.item() == pytest.approx(-((a * b).sum(1) / a.norm(dim=1) / b.norm(dim=1)).mean().item(), rel=1e-4)


def test_matching_brings_features_together(digits, network):
    teacher, images = bp.load_model("digits_cnn", seed=1), digits.images(range(100))
    recipe = qat(scheme=bp.Scheme("lsq", weight_bits=4, act_bits=4), objective=Matching(), epochs=4, batch_size=32)
    trained = recipe(network, digits, rng=RUN, teacher=teacher)

    def alike(model):
        return (
            torch.cosine_similarity(*(features_of(each, images, "backbone.linear")[0] for each in (model, teacher)))
            .mean()
            .item()
        )

    assert alike(trained) > alike(network) + 0.1


def test_a_teacher_of_another_width_is_refused(digits, network):
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(400, 7), nn.ReLU(), nn.Linear(7, 10)).eval()
    with pytest.raises(InputError, match="the teacher has 7 features and the model 1200"):
        standard(objective=Matching(), epochs=1)(network, digits, rng=RUN, teacher=teacher)


# ---- shares ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 1.0])
def test_every_class_has_its_share(share):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 500))
    rows = np.arange(5000)
    taken = stratified(labels, rows, share, RUN)
    assert len(taken) == part(5000, share) == round(5000 * share)
    assert (np.bincount(labels[taken], minlength=10) == 500 * share).all()
    assert (np.diff(taken) > 0).all()
    assert np.array_equal(taken, stratified(labels, rows, share, RUN))
    other = stratified(labels, rows, share, Rng(1, RUN.ids))
    assert np.array_equal(taken, other) == (share == 1)


def test_uneven_classes_have_theirs_give_or_take_one():
    labels = np.repeat([0, 1, 2], [70, 20, 10])
    counts = np.bincount(labels[stratified(labels, np.arange(100), 0.25, RUN)], minlength=3)
    assert counts.sum() == 25 and (np.abs(counts - [17.5, 5, 2.5]) <= 1).all()


def test_a_share_is_what_is_trained_on(digits, network):
    counts = []
    recipe = standard(epochs=2, share=0.25, holdout=20, batch_size=15)
    recipe(network, digits, rng=RUN, advance=lambda n, _: counts.append(n))
    assert sum(counts) == recipe.work(200) == 2 * 45
    with pytest.raises(InputError, match="share is 0"):
        standard(share=0.0)


# ---- papers ----------------------------------------------------------------------------------------------------


def test_recipes_of_li2024_and_xiao2023():
    assert li2024.matching().optimisation == li2024.adversarial().optimisation == li2024.fine_tuning().optimisation
    assert li2024.adversarial().label == "cross-entropy on pgd-7 linf 8/255 step=0.25eps, 60 epochs of sgd, pact w4a4"
    assert li2024.teacher().quantization is None and li2024.teacher().optimisation.epochs == 200
    for method in xiao2023.METHODS:
        for bits in xiao2023.BITS:
            recipe = RECIPES["xiao2023"](scheme=xiao2023.scheme_of(method, bits))
            assert recipe.quantization.scheme.label == f"{method} w{bits}a{bits}"
    with pytest.raises(InputError, match="unknown method of xiao2023 'pwlq'"):
        xiao2023.scheme_of("pwlq", 4)


def test_the_grid_makes_each_model_once_and_goes_on_after_nc(tmp_path, monkeypatch):
    """Here the adversarial ones explode."""
    fast = {"epochs": 1, "batch_size": 20, "augmentation": "none"}
    grid = Grid(
        architecture="digits_cnn",
        starts=("robust",),
        bits=(4, 32),
        teacher=standard(objective=bp.train.NFGSM(eps=0.1), epochs=1, batch_size=20),
        recipes={
            "vanilla": li2024.fine_tuning(**fast),
            "adversarial": changed(
                li2024.adversarial(**fast, objective=bp.train.NFGSM(eps=0.1)),
                batch_size=4,
                learning_rate=1e3,
                weight_decay=1e5,
                schedule="constant",
            ),
            "matching": li2024.matching(**fast),
        },
    )
    data = bp.load_data("digits", split="train", limit=40)
    models, diverged = grid.models(data, folder=tmp_path, progress=False)
    names = {f"{start} {way} w{bits}a{bits}" for start, way, bits in grid.cells()}
    assert set(models) == {name for name in names if "adversarial" not in name} and set(diverged) == names - set(models)
    assert len(models) == 6 and len(diverged) == 2
    assert models["robust vanilla w4a4"].scheme.label == "pact w4a4"
    assert not hasattr(models["robust vanilla w32a32"], "scheme")
    kept = made_in(tmp_path)
    assert len(kept) == 1 + 6 and len({made.teacher for made in kept}) == 2  # none, or the robust one
    monkeypatch.setattr("bitproof.experiment.made.train_in", lambda *_, **__: pytest.fail("trained again"))
    again, nc = grid.models(data, folder=tmp_path, progress=False)
    assert set(again) == set(models) and set(nc) == set(diverged)


def test_the_grid_of_the_paper():
    """Table 2: 3 starts x 4 ways x 5 bits, but for PTQ of random weights."""
    cells = list(Grid().cells())
    assert len(cells) == len(set(cells)) == 55 and ("random", "ptq", 4) not in cells


def test_what_a_grid_cannot_have_is_refused():
    with pytest.raises(InputError, match="unknown start 'robus'"):
        Grid(starts=("robus",))
    with pytest.raises(InputError, match="bits are \\(4, 16\\)"):
        Grid(bits=(4, 16))
    assert replace(Grid(), ways=("ptq",)).ways == ("ptq",)
