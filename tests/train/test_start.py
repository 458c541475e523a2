"""What is said of models, teachers and data that cannot be trained or do not fit, before or at the first step."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import bitproof as bp
from bitproof.errors import InputError
from bitproof.experiment import train
from bitproof.train import Distillation, Diverged, Epoch, Matching, Optimisation, changed, qat, standard
from bitproof.train.alarm import Alarm, remedies
from bitproof.train.divergence import PATIENCE
from bitproof.train.objectives import fgsm
from bitproof.train.objectives.matching import last_layer
from bitproof.train.penalties import Orthogonality

FAST = standard(epochs=1, batch_size=32)


@pytest.fixture(scope="module")
def digits():
    return bp.load_data("digits", split="train", limit=64)


def flat(outputs=10, **how):
    return nn.Sequential(nn.Flatten(), nn.Linear(400, outputs, **how))


class HeadFirst(nn.Module):
    """Its last layer is the one that is registered first."""

    def __init__(self):
        super().__init__()
        self.head, self.body = nn.Linear(8, 10), nn.Conv2d(1, 8, 3)

    def forward(self, images):
        return self.head(F.relu(self.body(images)).mean((2, 3)))


@pytest.mark.parametrize("objective", ["cross-entropy", "n-fgsm", "pgd(steps=1)", "free", "trades(steps=1)"])
def test_labels_without_an_output_are_named(objective, digits):
    with pytest.raises(InputError, match=r"the model has 3 outputs, and a label or target is 9: every class needs"):
        changed(FAST, objective=objective)(flat(3), digits)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_not_trained(kind, digits):
    """Adam's eps is 0 in float16: the first step was NaN, and the remedy a smaller rate."""
    with pytest.raises(InputError, match=r"'1\.weight' is of type torch\.b?float16.*model\.float\(\)"):
        FAST(flat().to(kind), digits)


def test_a_model_in_which_nothing_learns_is_named(digits):
    for model in (flat().requires_grad_(False), nn.Flatten()):
        with pytest.raises(InputError, match="without parameters that learn"):
            FAST(model, digits)


def test_a_teacher_of_other_classes_is_named(digits):
    """One of a single output would be broadcast without a word."""
    for outputs in (3, 1):
        with pytest.raises(InputError, match=f"the teacher has {outputs} outputs and the model 10"):
            changed(FAST, distillation=0.5)(flat(), digits, teacher=flat(outputs))


def test_counts_of_a_recipe_are_whole_numbers():
    for setting, name in ((Optimisation(), "epochs"), (Optimisation(), "batch_size"), (FAST, "holdout")):
        for wrong in (2.5, "3", -1):
            other = copy.copy(setting)
            object.__setattr__(other, name, wrong)  # what a call without checked types does
            with pytest.raises(InputError, match=f"{name} is {wrong!r}: .* takes a whole number"):
                other.__post_init__()


def test_a_temperature_is_never_ignored():
    with pytest.raises(InputError, match="temperature is 2 and nothing is distilled"):
        standard(temperature=2)
    taught = replace(FAST, objective=Distillation(weight=0.3, temperature=4))
    assert changed(taught, temperature=2).objective == Distillation(weight=0.3, temperature=2)


def test_an_alarm_that_is_none_is_named():
    recipe = copy.copy(FAST)
    object.__setattr__(recipe, "alarm", "alarm(every=20)")
    with pytest.raises(InputError, match=r"alarm is 'alarm\(every=20\)': it is an Alarm or None"):
        recipe.__post_init__()


def test_the_alarm_watches_a_single_step_beside_a_teacher():
    taught = Distillation(objective=fgsm(eps=0.1), weight=0.3)
    single = taught.one_step
    assert single is not None and single.eps == 0.1
    own = remedies(fgsm(eps=0.1))
    assert len(own) == 2 and remedies(taught) == tuple(replace(taught, objective=other) for other in own)


def test_orthogonality_of_weights_in_double_precision():
    """d/dw (1/2) (w.w - 1)^2 = 2 (w.w - 1) w for a single row, in the weight's own type."""
    layer = nn.Linear(3, 1, bias=False).double()
    Orthogonality(weight=1.0)(layer).backward()
    row = layer.weight.detach()
    assert layer.weight.grad.dtype == torch.float64
    torch.testing.assert_close(layer.weight.grad, 2 * (row.square().sum() - 1) * row, rtol=1e-5, atol=1e-6)


def test_the_last_layer_is_that_of_a_run_and_not_of_registration(digits):
    """Matched by registration, a float model of this kind was compared with its teacher on the images themselves."""
    torch.manual_seed(0)
    model, teacher, images = HeadFirst().eval(), HeadFirst().eval(), digits.images(range(8))
    assert last_layer(model, images) == "head"
    assert last_layer(bp.quantize(model, "lsq:w4a4", digits), images) == "head"
    trained = changed(FAST, objective=Matching(labels=0.0), epochs=3)(model, digits, teacher=teacher)

    def features(each):
        return F.relu(each.body(images)).mean((2, 3))

    with torch.no_grad():
        before, after = (F.cosine_similarity(features(each), features(teacher)).mean() for each in (model, trained))
    assert after > before + 0.01
    qat(scheme="lsq:w4a4", objective=Matching(), epochs=1)(model, digits, teacher=teacher)  # widths are said to fit


# ---- unbalanced classes ----------------------------------------------------------------------------------------


def unbalanced(right):
    """900 images of class 1 and 100 of class 0, and a fixed model that is right on this share of each."""
    labels = (np.arange(1000) >= 100).astype(int)
    said = labels.copy()
    for number, share in enumerate(right):
        rows = np.flatnonzero(labels == number)
        said[rows[round(share * len(rows)) :]] = 1 - number
    images = np.broadcast_to(said[:, None, None, None], (1000, 1, 2, 2)).astype(np.float32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, 4))
        model[1].bias.copy_(torch.tensor([2.0, -2.0]))
    return bp.from_arrays(images, labels, classes=["rare", "frequent"], name="unbalanced"), model


STILL = standard(epochs=PATIENCE, learning_rate=1e-12, optimizer="sgd", schedule="constant", batch_size=250)


def test_a_model_that_knows_the_rare_class_is_not_at_chance():
    """Right on 85% of both classes, where always answering the frequent one is right on 90%."""
    data, model = unbalanced((0.85, 0.85))
    history: list[Epoch] = []
    STILL(model, data, on_epoch=lambda epochs, _: history.append(epochs[-1]))
    assert [epoch.accuracy for epoch in history] == pytest.approx([0.85] * PATIENCE)
    assert [epoch.balanced_accuracy for epoch in history] == pytest.approx([0.85] * PATIENCE)


def test_a_model_that_knows_the_frequent_class_alone_is_at_chance():
    data, model = unbalanced((0.0, 1.0))
    with pytest.raises(Diverged, match=r"mean accuracy of the classes is 50\.0%"):
        STILL(model, data)


def test_balanced_accuracy_is_the_mean_over_the_classes():
    data, model = unbalanced((0.6, 0.9))
    history: list[Epoch] = []
    changed(STILL, epochs=2)(model, data, on_epoch=lambda epochs, _: history.append(epochs[-1]))
    assert [epoch.balanced_accuracy for epoch in history] == pytest.approx([0.75, 0.75])  # anew in each epoch
    assert history[0].accuracy == pytest.approx(0.87)


# ---- files -----------------------------------------------------------------------------------------------------


def test_a_run_that_is_done_writes_its_files_again(digits, tmp_path):
    recipe, start = changed(FAST, epochs=3, holdout=20, averaging=0.9), bp.load_model("digits_cnn")
    names = ("last.safetensors", "best.safetensors", "history.csv", "history.png")

    def again():
        return train(recipe, start, digits, output=tmp_path, architecture="digits_cnn", progress=False)

    made = again()
    kept = {name: bp.load_model("digits_cnn", weights=tmp_path / name).state_dict() for name in names[:2]}
    rows = (tmp_path / "history.csv").read_text()
    for name in names:
        (tmp_path / name).unlink()
    result = again()
    assert (tmp_path / "history.csv").read_text() == rows and (tmp_path / "history.png").exists()
    for name, weights in kept.items():
        found = bp.load_model("digits_cnn", weights=tmp_path / name).state_dict()
        assert all(torch.equal(found[key], weights[key]) for key in weights)
    assert all(torch.equal(value, made.state_dict()[key]) for key, value in result.state_dict().items())


def test_a_run_that_is_refused_leaves_no_folder(digits, tmp_path):
    model, folder = bp.load_model("digits_cnn"), tmp_path / "new" / "run"
    (tmp_path / "there").mkdir()
    for output in (folder, tmp_path / "there"):
        with pytest.raises(InputError, match="held out"):
            train(
                standard(epochs=1, holdout=10_000),
                model,
                digits,
                output=output,
                architecture="digits_cnn",
                progress=False,
            )
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_start_that_holds_nan_is_named(digits):
    """It was the loss that was NaN, and the remedy a smaller rate."""
    model = flat()
    model[1].weight.data[0, 0] = torch.nan  # pyright: ignore
    with pytest.raises(InputError, match=r"'1\.weight' of the model that training starts from holds NaN.*checkpoint"):
        FAST(model, digits)


def test_what_is_infinite_from_the_start_is_no_divergence(digits):
    """As the buffer of a causal mask is."""
    model = flat()
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    watched = changed(FAST, objective="n-fgsm(eps=0.1)", alarm=Alarm(every=1))
    assert torch.equal(watched(model, digits).mask, model.mask)  # pyright: ignore


def test_weights_that_become_infinite_are_divergence(digits):
    class Exploding(nn.Module):
        def __init__(self):
            super().__init__()
            self.flat = flat()
            self.register_buffer("seen", torch.ones(2))

        def forward(self, images):
            if self.training:
                self.seen.mul_(torch.inf)  # pyright: ignore
            return self.flat(images)

    with pytest.raises(Diverged, match="weights are not finite in epoch 1"):
        FAST(Exploding(), digits)
