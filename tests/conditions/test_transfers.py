"""Images made on one model, shown to the others."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import bitproof as bp
from bitproof.attacks import CW, FGSM, PGD
from bitproof.conditions import as_crafted
from bitproof.core.rng import Rng
from bitproof.errors import InputError
from bitproof.experiment import Clean, Crafted, Experiment
from bitproof.metrics import transfer
from bitproof.metrics.transfers import _half
from bitproof.records import ARRAYS
from bitproof.settings import describe, digest
from trained_digits import run


def test_a_transfer_gives_every_model_the_images_made_on_one(models, data, tmp_path):
    attack, images = PGD(eps=24 / 255), data.images(range(len(data)))
    result = run(models, data, [], transfer=["pgd:eps=24/255"], store=tmp_path / "runs.db")
    table = result.transfer().set_index(["source", "target"])
    assert set(table.index) == {(a, b) for a in models for b in models}
    assert set(table["attack"]) == {"pgd-20 linf 24/255 to the end"}
    for name, source in models.items():
        attack = PGD(eps=24 / 255, stop_at_hit=False)
        right = (source(images).argmax(1).numpy() == data.labels).nonzero()[0]
        rng = Rng(0, data.ids, (digest(describe(attack)),)).select(right)
        crafted = images.clone()
        crafted[right] = attack(bp.freeze(source), images[right], torch.from_numpy(data.labels[right]), rng=rng)
        for target, model in models.items():
            correct = model(crafted).argmax(1).numpy() == data.labels
            row = table.loc[name, target]
            assert row["accuracy"] == pytest.approx(correct.mean(), abs=0.02)
            distances = (crafted - images).flatten(1).norm(dim=1).numpy()[~correct & (data.labels >= 0)]
            assert row["l2"] == pytest.approx(distances[distances > 0].mean(), rel=0.02)
            assert row["linf"] == pytest.approx(24 / 255, rel=1e-3)
    cells = {(c.condition.source, c.model.name): c for c in result.cells if c.condition.kind == "transfer"}
    spent = {c.forwards for (source, _), c in cells.items() if source == "float"}
    assert len(spent) == 1  # what it takes alone, whatever else was computed
    renamed = run({"a": models["float"], "b": models["w4a4"]}, data, [], transfer=[attack], store=tmp_path / "runs.db")
    assert renamed.computed == 0
    assert set(renamed.transfer()["source"]) == {"a", "b"}
    renamed.report(tmp_path / "report.html")


def test_what_is_made_to_transfer_deceives_other_models_more_often(models, data):
    conditions = [Crafted(attack=PGD(eps=24 / 255, stop_at_hit=stop), source="float") for stop in (True, False)]
    stopped, finished = run(models, data, conditions).transfer().query("target == 'w4a4'")["accuracy"]
    assert finished < stopped


def test_kappa_is_chosen_on_other_examples_than_it_is_judged_on(models, data):
    attacks = [CW(kappa=kappa, steps=20, search_steps=2) for kappa in (0.0, 5.0)]
    result = run(models, data, [], transfer=attacks)
    rows = result.transfer(tuned="kappa")
    assert (rows["n"] == len(data) // 2).all()
    assert len(rows) == len(models) ** 2
    cells = [c for c in result.cells if c.condition.kind == "transfer"]
    choosing = _half(cells[0].ids)
    assert choosing.sum() == len(data) // 2
    for source in models:
        others = [c for c in cells if c.condition.source == source != c.model.name]
        by_kappa: dict[str, list[float]] = {}
        for cell in others:
            by_kappa.setdefault(digest(cell.condition.setting), []).append(float(cell.correct[choosing].mean()))
        best = min(by_kappa, key=lambda kappa: float(np.mean(by_kappa[kappa])))
        for cell in others:
            row = rows.query(f"source == '{source}' and target == '{cell.model.name}'").iloc[0]
            if digest(cell.condition.setting) == best:
                assert row["accuracy"] == cell.correct[~choosing].mean()
                assert cell.condition.label.startswith(row["attack"])
    one = {name: getattr(cells[0], name)[:1] for name in (*ARRAYS, "losses", "ranks", "squares")}
    with pytest.raises(InputError, match="one example"):
        transfer([replace(cells[0], **one)], tuned="kappa")


def test_what_cannot_be_transferred_is_named(models, data):
    with pytest.raises(InputError, match="source of a transfer"):
        Experiment(models=models, data=data, conditions=(Crafted(attack=PGD(), source="absent"),))
    with pytest.raises(InputError, match="unknown attack"):
        run(models, data, [], transfer=["brightness"])


def test_all_images_are_attacked_where_that_is_asked_for(models, data):
    """As in Bernhard et al. 2019: what the source gets wrong is moved too, and deceives other models."""
    attack = FGSM(eps=12 / 255, stop_at_hit=False)

    logits = models["float"](data.images(range(len(data)))).detach()
    bias = (logits.max(1).values - logits[:, 0]).median()

    class Rough(torch.nn.Module):  # takes every second digit for a 0
        def forward(self, x):
            return models["float"](x) + bias * (torch.arange(10) == 0)

    both = {"rough": Rough().eval(), "float": models["float"]}
    asked = [Crafted(attack=attack, examples=examples) for examples in ("right", "all")]
    result = run(both, data, [], transfer=[asked[0], "crafted:attack=fgsm(eps=12/255),examples=all"])
    cells = {(c.condition.source, c.condition.how.get("examples"), c.model.name): c for c in result.cells}
    right, everything = (cells["rough", examples, "float"] for examples in (None, "all"))
    assert (right.linf == 0).sum() == (~result.cells[0].correct).sum() > 0
    assert (everything.linf > 0).all()
    assert everything.correct.sum() < right.correct.sum()
    assert {c.condition.label for c in (right, everything)} == {
        "fgsm linf 12/255 to the end from rough",
        "fgsm linf 12/255 to the end on all from rough",
    }
    direct = run(
        {"rough": both["rough"]}, data, [asked[1], replace(asked[1], attack=replace(attack, eps=24 / 255))]
    ).cells
    np.testing.assert_array_equal(direct[1].predictions, cells["rough", "all", "rough"].predictions)
    broken = ~direct[1].correct
    np.testing.assert_array_equal(direct[2].linf[broken], direct[1].linf[broken])  # lost already at the smaller budget


def test_what_is_no_attack_makes_no_transfer():
    with pytest.raises(InputError, match="'clean' is not an attack"):
        as_crafted(Clean())
    with pytest.raises(InputError, match="unknown choice of examples 'most'"):
        Crafted(attack=PGD(), examples="most")
