"""Attacks are judged on the model itself, however their images are made."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bitproof.attacks import BPDA, FGSM, PGD, AutoAttack
from bitproof.errors import InputError
from bitproof.experiment import Clean, Crafted
from bitproof.judging import Bench, Maker
from bitproof.judging.crafted import judge_crafted
from bitproof.subjects import Subject
from trained_digits import run


def test_adversarial_examples_depend_on_the_batch_size_by_rounding_only(models, data):
    attacks = [FGSM(eps=16 / 255), PGD(norm="l2", eps=1.0, steps=5)]
    results = [run({"float": models["float"]}, data, attacks, batch_size=size) for size in (1, 7, 128)]
    for cells in zip(*(r.cells for r in results), strict=True):
        for other in cells[1:]:
            difference = np.abs(cells[0].pictures.images.astype(np.float32) - other.pictures.images)
            assert np.quantile(difference, 0.99) <= 1e-3  # the pictures are kept in float16
            assert (cells[0].predictions != other.predictions).mean() <= 0.02


@pytest.mark.slow
def test_an_attack_that_fills_its_own_batches_gets_everything_at_once(models, data):
    pgd, ensemble = PGD(eps=16 / 255, steps=5), AutoAttack(eps=16 / 255, steps=5, queries=20)
    result = run(models, data, [Clean(), pgd, ensemble], batch_size=25)
    for name in models:
        clean, followed, broken = (c for c in result.cells if c.model.name == name)
        assert broken.correct.sum() <= followed.correct.sum() < clean.correct.sum()
        assert (broken.linf <= 16 / 255).all()
        assert broken.forwards + broken.backwards <= clean.correct.sum() * (ensemble.passes + 1) + 16
    other = run({"float": models["float"]}, data, [Clean(), ensemble], batch_size=60).cells[1]
    assert (result.cells[2].predictions == other.predictions).mean() > 0.95  # sums of another order may tip one


def judged(attack, model, data, clean, *, crafted_on=None, how="folded", advance=lambda passes: None):
    """The cell of an attack on one model, made on another one where that is given."""
    bench = Bench(subjects={"float": Subject.of(model)}, maker=Maker(data=data, seed=0), batch_size=25)
    if crafted_on is not None:
        bench = replace(bench, crafting=how)
        bench.__dict__["crafted_on"] = {"float": crafted_on}
    condition = Crafted(attack=attack)
    models, needed = {"float": clean.model}, {"clean": clean}
    (cell,) = judge_crafted(bench, condition, condition.record(), models, needed, advance)
    return cell


def test_the_progress_of_an_attack_adds_up(model, data):
    told, attack = [], AutoAttack(eps=16 / 255, steps=3, queries=10)
    (clean,) = run({"float": model}, data, [Clean()]).cells
    judged(attack, model, data, clean, advance=told.append)
    assert sum(told) == len(data) * (attack.passes + 1)
    assert len(told) > 10  # while it runs, not all at the end


@pytest.mark.parametrize("crafting", [pytest.param("exact", marks=pytest.mark.slow), "folded"])
def test_lanes_change_neither_results_nor_passes(model, data, crafting):
    attacks = [PGD(eps=16 / 255, steps=5), BPDA(attack=PGD(eps=8 / 255, steps=3), parts=("ReLU",))]
    attacks += [AutoAttack(eps=16 / 255, steps=3, queries=10)]
    threads, found = torch.get_num_threads(), {}
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found[count] = run({"float": model}, data, attacks, batch_size=32, crafting=crafting).cells
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*found.values(), strict=True):
        assert one.key == two.key
        assert (one.predictions == two.predictions).mean() > 0.95  # sums of another order may tip one
        assert abs(one.forwards - two.forwards) <= 0.05 * one.forwards + 8  # a look at eight images for each pool
        assert abs(one.backwards - two.backwards) <= 0.05 * one.backwards


@pytest.mark.parametrize("crafting", [pytest.param("folded", marks=pytest.mark.slow), "bfloat16"])
def test_what_counts_is_predicted_on_the_model_itself(models, data, tmp_path, crafting):
    conditions = [PGD(eps=8 / 255, steps=8), PGD(eps=16 / 255, steps=8)]
    if crafting == "folded":
        conditions.append(AutoAttack(eps=16 / 255, steps=3, queries=10))
    exact = run(models, data, conditions).cells
    fast = run(models, data, conditions, crafting=crafting).cells
    for a, b in zip(exact, fast, strict=True):
        assert (a.key == b.key) == (a.condition.kind == "clean")
        assert abs(a.correct.mean() - b.correct.mean()) < 0.1
        if crafting == "bfloat16":
            assert (b.correct & ~a.correct).sum() <= 1  # nothing stands that falls without the copy, but for rounding


def test_what_only_the_faster_model_loses_is_attacked_again(model, data):
    (clean,) = run({"float": model}, data, [Clean()]).cells
    attack = PGD(eps=16 / 255)
    exact = judged(attack, model, data, clean)

    class Coward(nn.Module):
        def forward(self, x):
            return model(x).neg()

    brave = judged(attack, model, data, clean, crafted_on=Coward().eval())
    np.testing.assert_array_equal(brave.correct, exact.correct)
    assert brave.forwards > exact.forwards
    with pytest.raises(InputError, match="way to make attacks"):
        run({"float": model}, data, [Clean()], crafting="fast")


def test_what_a_rough_copy_leaves_standing_is_attacked_again(model, data):
    (clean,) = run({"float": model}, data, [Clean()]).cells
    attack = PGD(eps=16 / 255)
    exact = judged(attack, model, data, clean)

    class Numb(nn.Module):
        """Is as sure as the model, and says nothing of where to go."""

        def forward(self, x):
            return model(x).detach() + 0 * x.sum((1, 2, 3))[:, None]

    rough = judged(attack, model, data, clean, crafted_on=Numb().eval(), how="bfloat16")
    np.testing.assert_array_equal(rough.correct, exact.correct)
    trusted = judged(attack, model, data, clean, crafted_on=Numb().eval())
    assert trusted.correct.sum() > exact.correct.sum()
