"""DIVA: images that one model gets wrong and another one beside it does not."""

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.attacks import DIVA, PGD, Adaptive, Differential
from bitproof.conditions import Clean, Crafted, with_adaptive
from bitproof.core.defended import Beside, examined
from bitproof.core.passes import Counted
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.records import KEPT
from closed_form import LinearTwoClass
from trained_digits import run


def halves(w: float, v: float, offset: float = 0.1) -> tuple[LinearTwoClass, LinearTwoClass]:
    """Two models of class 1 at the grey image, which look at the left and at the right half of it."""
    left, right = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    left[..., :2], right[..., 2:] = w, v
    return LinearTwoClass(left, offset), LinearTwoClass(right, offset)


@pytest.fixture
def grey() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((3, 1, 4, 4), 0.5), torch.ones(3, dtype=torch.int64)


def keyed(n: int = 3) -> Rng:
    return Rng(0, np.arange(n))


def test_a_step_is_eps_in_the_direction_that_parts_linear_models(grey):
    """Scores fall by eps |w|_1 in the attacked model and rise by eps |v|_1 in the kept one, which is the optimum."""
    images, labels = grey
    attacked, kept = halves(1.0, 2.0)
    eps = 0.01  # less than the distance to the boundary, 0.1 / 8
    found = DIVA(eps=eps)(Beside(attacked, kept), images, labels, rng=keyed())
    expected = images.clone()
    expected[..., :2] -= eps
    expected[..., 2:] += eps
    torch.testing.assert_close(found, expected)
    assert attacked(found)[:, 1].tolist() == pytest.approx([0.1 - 8 * eps] * 3, abs=1e-6)
    assert kept(found)[:, 1].tolist() == pytest.approx([0.1 + 16 * eps] * 3, abs=1e-6)


@pytest.mark.parametrize(("eps", "flipped"), [(0.012, False), (0.013, True)])
def test_linear_models_part_at_the_distance_of_the_attacked_one(grey, eps, flipped):
    images, labels = grey
    pair = Beside(*halves(1.0, 2.0))
    assert halves(1.0, 2.0)[0].distance(images, "linf")[0] == pytest.approx(0.1 / 8)
    found = examined(pair, DIVA(eps=eps)(pair, images, labels, rng=keyed()))
    assert (found.logits.argmax(1) == 0).tolist() == [flipped] * 3
    assert found.values[KEPT].tolist() == [1, 1, 1]


def test_no_image_parts_two_models_that_are_the_same(grey):
    images, labels = grey
    pair = Beside(halves(1.0, 1.0)[0], halves(1.0, 1.0)[0])
    found = DIVA(eps=0.3, loss="ce")(pair, images, labels, rng=keyed())
    assert torch.equal(found, images)  # the gradients cancel exactly


@pytest.mark.parametrize("c", [0.5, 2.0])
def test_c_weighs_what_the_attacked_model_says_against_the_other(grey, c):
    """Both look at the same pixels, the kept one harder: which of the two wins is decided by c p(1 - p)."""
    images, labels = grey
    weight = torch.ones(1, 4, 4)
    attacked, kept = LinearTwoClass(weight, 0.1), LinearTwoClass(1.01 * weight, 0.1)
    moved = DIVA(eps=0.001, steps=1, c=c)(Beside(attacked, kept), images, labels, rng=keyed()) - images
    assert (moved < 0).all() == (c == 2.0) and (moved > 0).all() == (c == 0.5)


def test_the_other_model_keeps_its_answers_more_often_than_under_pgd(models, data):
    attack = "crafted:attack=pgd(eps=16/255,steps=10),source=w4a4"
    result = run(models, data, ["diva:eps=16/255,steps=10", attack])
    cell = next(c for c in result.cells if c.condition.kind == "differential")
    shown = next(
        c for c in result.cells if c.condition.source == "w4a4" and c.model.name == "float"
    )  # what PGD made on the quantized model, shown to the float one
    alone = ~cell.correct & (cell.values[KEPT] == cell.labels)
    kept = (cell.values[KEPT] == cell.labels).mean()
    assert kept > shown.correct.mean() + 0.3
    row = result.summary().query("metric == 'evaded'").iloc[0]
    clean = next(c for c in result.cells if c.condition.kind == "clean" and c.model.name == "w4a4")
    assert row["value"] == pytest.approx(alone[clean.correct].mean()) and row["value"] > 0.2
    assert row["n"] == clean.correct.sum()


@pytest.mark.slow
def test_a_cell_has_what_the_other_model_says_and_the_other_model_has_none(models, data, tmp_path):
    few, store = data.take(20), tmp_path / "s.db"
    conditions = ["diva:eps=4/255,steps=8", "diva:eps=24/255,steps=8"]
    result = run(models, few, conditions, store=store)
    found = [c for c in result.cells if c.condition.kind == "differential"]
    assert [c.model.name for c in found] == ["w4a4", "w4a4"]
    assert [c.condition.label for c in found] == [f"diva-8 linf {k}/255 beside float" for k in (4, 24)]
    small, large = ((~c.correct & (c.values[KEPT] == c.labels)) for c in found)
    assert (large >= small).all()  # what a smaller budget parted stays so
    pair, attack = Beside(bp.freeze(models["w4a4"]), bp.freeze(models["float"])), DIVA(eps=24 / 255, steps=8)
    clean = result.cells[0]
    with torch.no_grad():
        other = pair.other(few.images(np.arange(20))).argmax(1).numpy()
    untouched = found[0].linf == 0
    assert (found[0].values[KEPT][untouched] == other[untouched]).all()
    assert found[1].linf.max() <= attack.eps * (1 + 1e-6) and clean.model.name == "float"
    assert found[1].condition.how["keeps"] == clean.model.identity
    renamed = {"f": models["float"], "q": models["w4a4"]}
    again = run(renamed, few, conditions, store=store)
    assert again.computed == 0  # names are no part of a key
    reverse = run(models, few, ["crafted:attack=diva(eps=24/255,steps=8),keeps=w4a4"], store=store)
    assert [c.model.name for c in reverse.cells if c.condition.kind == "differential"] == ["float"]
    assert reverse.computed == 1
    tested = bp.metrics.verdicts(result.cells, "float")
    assert {row["kind"] for row in tested} == {"clean"}  # the float one has nothing to be compared
    result.report(tmp_path / "r.html")
    assert "diva-8 linf 24/255 beside float" in (tmp_path / "r.html").read_text()


def test_images_made_to_part_two_models_can_be_shown_to_others(models, data):
    result = run(models, data.take(10), [], transfer=["diva:eps=24/255,steps=3"])
    sources = {(c.condition.source, c.model.name) for c in result.cells if c.condition.kind == "transfer"}
    assert sources == {("w4a4", "float"), ("w4a4", "w4a4")}  # not made on the one whose answers are kept


def test_passes_of_both_models_count_and_all_is_left_as_it_was(grey):
    images, labels = grey
    pair = Beside(*halves(1.0, 2.0))
    before = {name: value.clone() for name, value in pair.state_dict().items()}
    counted, attack = Counted(pair), DIVA(eps=0.001, steps=5)
    whole = attack(counted, images, labels, rng=keyed())
    assert (counted.forwards, counted.backwards) == (2 * 5 * 3, 2 * 5 * 3)
    examined(counted, whole)
    assert counted.forwards + counted.backwards == 66 == 3 * (attack.passes + 1)
    alone = attack(pair, images[1:2], labels[1:2], rng=keyed().select([1]))
    assert torch.equal(alone, whole[1:2]) and not whole.requires_grad
    assert all(torch.equal(value, pair.state_dict()[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in pair.parameters())


def test_mistakes_are_explained(models, data, grey):
    images, labels = grey
    attacked, kept = halves(1.0, 1.0)
    with pytest.raises(InputError, match="diva-20 linf 8/255 on one model: it looks for images.*Beside"):
        DIVA()(attacked, images, labels, rng=keyed())
    with pytest.raises(InputError, match="got targets: it looks for any wrong class"):
        DIVA()(Beside(attacked, kept), images, labels, targets=labels - 1, rng=keyed())
    three = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
    with pytest.raises(InputError, match="models of 2 and 3 classes"):
        DIVA()(Beside(attacked, three), images, labels, rng=keyed())
    with pytest.raises(InputError, match="c is 0: it is a positive number"):
        DIVA(c=0)
    with pytest.raises(InputError, match="keeps is 'float' with 'pgd-20 linf 8/255': only an attack that is about two"):
        Crafted(attack=PGD(), keeps="float")
    with pytest.raises(InputError, match="source and keeps are both 'float'"):
        Crafted(attack=DIVA(), keeps="float", source="float")
    with pytest.raises(InputError, match="beside 'model', the only model.*Add a quantized copy"):
        bp.evaluate(models["float"], data, conditions=["diva"], progress=False)
    with pytest.raises(InputError, match="model to be kept"):
        run(models, data, ["crafted:attack=diva(),keeps=flaot"])
    with pytest.raises(InputError, match="on one model"):
        run(models, data.take(4), ["eot:attack=diva(),draws=2"])


def test_labels_settings_and_ends():
    assert [a.label for a in (DIVA(eps=0.5, norm="l2"), DIVA(c=2, loss="ce"), DIVA(steps=3, stop_at_hit=False))] == [
        "diva-20 l2 0.5",
        "diva-20 linf 8/255 c=2 ce",
        "diva-3 linf 8/255 to the end",
    ]
    assert DIVA().to_the_end() == DIVA(stop_at_hit=False)
    assert DIVA().path.lengths == pytest.approx([1 / 255] * 20)  # the public code's steps at its budget
    assert isinstance(DIVA(), Differential)
    given = [Clean(), Crafted(attack=DIVA(), keeps="float"), Crafted(attack=PGD())]
    added = [c.attack for c in with_adaptive(given, gradients=True) if isinstance(c, Crafted)]
    assert added == [DIVA(), PGD(), Adaptive(attack=PGD())]
