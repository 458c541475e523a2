"""Neither attacks nor models are believed."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.attacks import EOT, FGSM, Attack, AutoAttack, Noise
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.report.text import remarks
from trained_digits import run

TWICE = torch.tensor([1.0, 0.5]).view(2, 1, 1, 1)

CHANGES = {
    "none": lambda x: x,
    "far": lambda x: (x + 0.2).clamp(0, 1),
    "dark": lambda x: x - 0.05,
    "void": lambda x: x * torch.nan,
    "cut": lambda x: x[:, :, :-1],
    "a tenth too far": lambda x: x + 1.1 * 0.1 * torch.where(x < 0.5, 1.0, -1.0) / x[0].numel(),
    "a tenth too far under l2": lambda x: x + 1.1 * 0.1 * torch.where(x < 0.5, 1.0, -1.0) / x[0].numel() ** 0.5,
    "within": lambda x: x + 0.99 * 0.1 * torch.where(x < 0.5, 1.0, -1.0) / x[0].numel(),
}


@dataclass(frozen=True, kw_only=True)
class Cheat(Attack):
    """Returns whatever it is told to."""

    change: str
    norm: str = "linf"
    eps: float = 0.1
    passes: ClassVar[int] = 0
    label: ClassVar[str] = "cheat"

    def __call__(self, model, inputs, labels, *, targets=None, rng):
        return CHANGES[self.change](inputs)


@pytest.mark.parametrize(
    ("cheat", "words"),
    [
        (Cheat(change="far"), "moved an image by .*its budget is eps = 0.1 under linf"),
        (Cheat(change="dark"), r"gave values from -0.05 to .*images lie in \[0, 1\]"),
        (Cheat(change="void"), "gave values from nan to nan"),
        (Cheat(change="cut"), "gave images of shape .*have shape"),
        (Cheat(change="a tenth too far", norm="l1"), r"by 0\.1[01]\d*: its budget is eps = 0.1 under l1"),
        (Cheat(change="a tenth too far under l2", norm="l2"), r"by 0\.1[01]\d*: its budget is eps = 0.1 under l2"),
    ],
)
def test_an_attack_is_not_believed(models, data, cheat, words):
    with pytest.raises(InputError, match=words):
        run(models["float"], data, [cheat])


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_an_attack_within_its_budget_is_believed(models, data, norm):
    clean, cell = run(models["float"], data, [Cheat(change="within", norm=norm)]).cells
    assert (getattr(cell, norm)[clean.correct] > 0).all()


def test_a_randomised_model_is_named_and_eot_is_offered(data):
    class Random(nn.Module):
        def forward(self, x):
            return (x.flatten(1)[:, :10] + 1e-3 * torch.randn(len(x), 10)) * 5

    with pytest.raises(InputError, match="'model' answers the same images differently.*EOT.attack"):
        run(Random(), data, [FGSM()])
    with pytest.raises(InputError, match="'model' answers the same images differently"):
        run(Random(), data, [Noise(draws=3)])  # draws of its own, not of the model
    run(Random(), data, [EOT(attack=FGSM(), draws=2), AutoAttack(version="rand", steps=2, draws=2)])


def test_a_model_that_answers_by_its_batch_is_evaluated_with_a_remark_and_not_attacked(data):
    class OfBatch(nn.Module):
        def forward(self, x):
            y = x.flatten(1)[:, 100:110] * 9
            return y - y.mean(0)

    class OneByOne(OfBatch):
        def forward(self, x):
            return torch.cat([super(OneByOne, self).forward(image[None].repeat(2, 1, 1, 1) * TWICE)[:1] for image in x])

    result = run(OfBatch(), data, ["clean"])
    assert result.cells[0].model.of_batch
    assert "model answers by the other images in a batch" in " ".join(remarks(result.cells))
    for attack in (FGSM(), AutoAttack(steps=2, queries=2)):
        with pytest.raises(InputError, match=r"'model' answers to an image depends on the others.*one image at a time"):
            run(OfBatch(), data, [attack])
    with pytest.raises(InputError, match="the model answers to an image depends on the others"):
        AutoAttack(steps=2)(
            OfBatch().eval(), data.images(range(4)), torch.zeros(4, dtype=int), rng=Rng(0, np.arange(4))
        )
    run(OneByOne(), data, [FGSM()])


def test_an_attack_that_does_nothing_breaks_nothing(models, data):
    result = run(models["float"], data, [Cheat(change="none")])
    assert np.array_equal(result.cells[1].predictions, result.cells[0].predictions)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(400, 7)), "'model' has 7 outputs, data set 'digits' has 10 classes"),
        (nn.Flatten(0), "'model' returned shape .*logits"),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(400), nn.Linear(400, 10)), "NaN or infinity for 8 of 8 images"),
    ],
)
def test_models_that_do_not_fit_are_explained(model, words, data):
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.fill_(torch.nan)
    with pytest.raises(InputError, match=words):
        run(model, data, [])


def test_probabilities_are_no_logits():
    data, model = bp.load_data("digits", limit=20), bp.load_model("digits_cnn").eval()
    with pytest.raises(InputError, match="outputs of model 'model' are probabilities.*last softmax.*torch.log"):
        bp.evaluate(nn.Sequential(model, nn.Softmax(1)), data, suite="clean", progress=False)

    class Logarithm(nn.Module):
        def forward(self, x):
            return torch.log(x.clamp(min=1e-12))

    (one,), (other,) = (
        bp.evaluate(m, data, suite="clean", progress=False).cells
        for m in (model, nn.Sequential(model, nn.Softmax(1), Logarithm()))
    )
    np.testing.assert_allclose(other.confidences, one.confidences, atol=1e-5)


def test_a_model_with_more_outputs_than_classes_is_refused_where_classes_have_names():
    data = bp.load_data("digits", limit=20)
    wide = bp.load_model("digits_cnn", classes=12)
    with pytest.raises(InputError, match="has 12 outputs, data set 'digits' has 10 classes.*each output a class"):
        bp.evaluate(wide, data, suite="clean", progress=False)
    numbered = bp.from_arrays(data.images(range(20)), data.labels)
    assert len(bp.evaluate(wide, numbered, suite="clean", progress=False).cells) == 1


def test_an_own_attack_of_an_unknown_norm_is_refused():
    @dataclass(frozen=True, kw_only=True)
    class Few(Attack):
        norm: str = "l0"
        eps: float = 3.0
        label = property(lambda self: f"few {self.budget}")
        passes = 0

        def __call__(self, model, inputs, labels, *, targets=None, rng):
            return inputs

    with pytest.raises(InputError, match="unknown norm 'l0': known are l1, l2, linf"):
        bp.evaluate(bp.load_model("digits_cnn"), bp.load_data("digits", limit=4), conditions=[Few()], progress=False)


def test_a_function_around_a_network_in_train_mode_is_refused():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(400, 10))
    data = bp.load_data("digits", limit=8)
    with pytest.raises(InputError, match=r"'m' works with a Sequential in train mode.*eval\(\)"):
        bp.evaluate({"m": lambda images: network(images)}, data, suite="clean", progress=False)
    network.eval()
    assert len(bp.evaluate({"m": lambda images: network(images)}, data, suite="clean", progress=False).cells) == 1
