"""Certificates against the exact radius of a linear model, bounds against statsmodels, sessions and copies."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint
from torch import Tensor, nn

import bitproof as bp
from bitproof.defences import Smoothing, certified_rows, incremental
from bitproof.defences.certificate import fewest, lower_bound, radius, undecided, upper_bound
from bitproof.errors import InputError
from closed_form import LinearTwoClass


def linear() -> LinearTwoClass:
    return LinearTwoClass(torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(0)), offset=0.1)


def images(count: int = 12) -> Tensor:
    return (255 * torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(1))).round() / 255


def test_bounds_are_clopper_pearsons():
    for successes, draws, alpha in ((0, 10, 0.05), (3, 10, 0.05), (10, 10, 0.001), (990, 1000, 0.001)):
        low, high = proportion_confint(successes, draws, 2 * alpha, "beta")
        given = np.array([successes])
        assert lower_bound(given, draws, alpha)[0] == pytest.approx(0 if math.isnan(low) else low)
        assert upper_bound(given, draws, alpha)[0] == pytest.approx(1 if math.isnan(high) else high)
    assert radius(lower_bound(np.array([1000]), 1000, 0.001), 1.0)[0] == pytest.approx(2.46, abs=0.005)
    assert radius(np.array([0.5, 0.3, 0.9]), 0.25).tolist() == [0, 0, pytest.approx(0.25 * norm.ppf(0.9))]
    assert undecided(np.array([[50, 50], [60, 40], [100, 0], [0, 70]]), 0.001).tolist() == [True, True, False, False]


@pytest.mark.parametrize("levels", [None, 255])
def test_radii_of_a_linear_model_come_near_the_exact_ones_from_below(levels):
    model, shown = linear(), images()
    exact = model.distance(shown, "l2").numpy()
    for draws, least in ((500, 0.5), (8000, 0.85)):
        smoothed = Smoothing(sigma=0.25, draws=draws, levels=levels)(model)
        examined = smoothed.examine(shown)
        found = examined.values["radius"].numpy()
        assert (found <= exact).all()
        reachable = (exact > 0.1) & (exact < 0.5)
        assert (found[reachable] / exact[reachable]).mean() > least
    sure = ~examined.refused
    assert torch.equal(examined.logits.argmax(1)[sure], model(shown).argmax(1)[sure])
    assert sure.sum() >= 10


def test_rounded_noise_is_what_an_8_bit_camera_would_hand_on():
    seen = []

    class Watch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return linear()(x)

    Smoothing(sigma=0.25, draws=50, first=10, levels=255)(Watch()).examine(images(2))
    codes = torch.cat(seen).double() * 255
    assert (codes - codes.round()).abs().max() < 1e-4
    assert codes.min() < 0 and codes.max() > 255  # not clipped


def test_answers_depend_on_the_image_and_the_seed_alone():
    smoothed, shown = Smoothing(draws=100, first=20)(linear()), images()
    whole = smoothed.counts(shown, "counted", 100)
    assert np.array_equal(smoothed.counts(shown[5:7], "counted", 100), whole[5:7])
    assert not np.array_equal(Smoothing(seed=1)(linear()).counts(shown, "counted", 100), whole)
    assert torch.equal(smoothed(shown)[3:4], smoothed(shown[3:4]))


def test_copies_are_certified_from_few_shared_draws():
    model, shown = linear(), images()
    copy = LinearTwoClass(model.weight.detach() + 0.02, offset=0.1)
    own, found = incremental(
        Smoothing(sigma=0.25, draws=4000), model, {"same": model, "copy": copy}, shown, paired=1000
    )
    for certificates, exact in ((own, model), (found["same"], model), (found["copy"], copy)):
        assert (certificates.radii <= exact.distance(shown, "l2").numpy()).all()
        sure = certificates.classes >= 0
        assert (certificates.classes[sure] == exact(shown).argmax(1).numpy()[sure]).all()
    assert (found["copy"].radii <= found["same"].radii).all() and (found["same"].radii <= own.radii).all()
    assert found["copy"].radii.mean() > 0.6 * own.radii.mean()
    assert (own.draws, found["copy"].draws) == (4000, 1000)


def test_a_copy_that_answers_alike_loses_only_what_few_draws_cannot_tell():
    how, model, shown = Smoothing(sigma=0.25, draws=4000), linear(), images()
    own, found = incremental(how, model, {"same": model}, shown, paired=1000)
    smoothed = how(model)
    chosen = smoothed.counts(shown, "first", how.first).argmax(1)
    leading = smoothed.counts(shown, "counted", 4000)[np.arange(len(shown)), chosen]
    assert own.radii.tolist() == radius(lower_bound(leading, 4000, how.alpha), 0.25).tolist()
    unseen = 1 - (how.alpha / 2) ** (1 / 1000)  # the upper bound where none of 1,000 draws differs
    expected = radius(lower_bound(leading, 4000, how.alpha / 2) - unseen, 0.25)  # each bound fails with alpha / 2
    assert found["same"].radii.tolist() == pytest.approx(expected.tolist(), abs=1e-9)


def test_the_class_that_is_certified_is_chosen_on_draws_of_its_own(monkeypatch):
    smoothed = Smoothing(sigma=0.25, draws=100, first=10)(linear())
    given = {"first": np.array([[9, 1], [9, 1]]), "counted": np.array([[99, 1], [1, 99]])}
    monkeypatch.setattr(type(smoothed), "counts", lambda self, images, purpose, draws: given[purpose])
    radii = smoothed.examine(images(2)).values["radius"]
    assert radii[0] > 0 and radii[1] == 0


def test_certified_accuracy_is_stored_and_an_attack_inside_the_radius_is_told(model, data):
    smoothed, few = Smoothing(sigma=0.12, draws=100, first=20)(model), data.take(8)
    tested, attack = {"float": model, "behind": smoothed}, ["pgd:norm=l2,eps=0.1,steps=2"]
    result = bp.evaluate(tested, few, conditions=attack, progress=False)
    clean = next(c for c in result.cells if c.model.name == "behind" and c.condition.kind == "clean")
    assert clean.values["radius"].shape == (8,) and clean.values["radius"].max() <= 0.12 * 1.51  # of 100 draws
    curve = bp.metrics.certified_accuracy(clean, [0.0, 0.05, 0.15, 1.0])
    assert (np.diff(curve) <= 0).all() and curve[0] >= 0.5 and curve[-1] == 0
    rows = {(r["model"], r["metric"], r["condition"]): r["value"] for r in bp.metrics.summary(result.cells, "float")}
    assert rows["behind", "acr", ""] == pytest.approx(bp.metrics.certified(clean).mean())
    assert rows["behind", "breaches", "pgd-2 l2 0.1 adaptive"] == 0


def test_a_model_that_was_not_trained_on_noise_is_told():
    sharp = nn.Sequential(nn.Flatten(), nn.Linear(16, 8)).eval()
    doubts = Smoothing(sigma=5.0, draws=50, first=20)(sharp).doubts(images())
    assert doubts and "seems not to have been trained on such noise" in doubts[0]
    assert not Smoothing(sigma=0.01)(sharp).doubts(images())


def test_mistakes_are_explained():
    for words, fields in (
        ("sigma is 0", {"sigma": 0.0}),
        ("alpha 0.5", {"alpha": 0.5}),
        ("draws=0", {"draws": 0}),
        ("levels=0", {"levels": 0}),
    ):
        with pytest.raises(InputError, match=words):
            Smoothing(**fields)
    with pytest.raises(InputError, match="paired is 0"):
        incremental(Smoothing(), linear(), {}, images(), paired=0)


def test_so_few_draws_that_nothing_is_ever_answered_are_refused():
    """All of n draws alike: a two-sided p-value of 2^(1 - n), which has to be alpha at most."""
    for alpha in (0.001, 0.01, 0.05, 0.3):
        least = fewest(alpha)
        assert undecided(np.array([[least - 1, 0], [least, 0]]), alpha).tolist() == [True, False]
        Smoothing(draws=least, alpha=alpha)
        with pytest.raises(InputError, match=f"draws={least - 1} with alpha={alpha:g}.*Use {least} or more"):
            Smoothing(draws=least - 1, alpha=alpha)


def test_what_is_not_certain_is_not_certified_at_a_radius_of_0_either():
    model, smoothing = linear(), Smoothing(sigma=0.01, draws=50, first=10)
    said = model(images()).argmax(1).numpy()
    pixels = (255 * images()).round().byte().numpy()
    for labels, share in ((said, 1.0), (1 - said, 0.0)):
        (row,) = certified_rows(smoothing, model, {}, bp.from_arrays(pixels, labels))
        assert row["certified at 0"] == pytest.approx(share, abs=0.1) and (row["radius"] > 0) == bool(share)


def test_copies_of_other_classes_and_radii_that_are_none_are_named(model, data):
    smoothing, images = Smoothing(draws=20, first=2), data.images(range(2))
    other = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 3)).eval()
    with pytest.raises(InputError, match=r"models of the classes \d+, 3"):
        incremental(smoothing, model, {"other": other}, images, paired=5)
    for radius_ in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="a radius of .*it is a distance"):
            certified_rows(smoothing, model, {}, data, radii=(radius_,))
    with pytest.raises(InputError, match="a copy named 'float'"):
        certified_rows(smoothing, model, {"float": model}, data)
