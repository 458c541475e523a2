"""Budgets: none, increasing ones, and those with nothing left to attack."""

import numpy as np
import torch
from torch import nn

import bitproof as bp
from bitproof.attacks import CW, EOT, FMN, PGD
from bitproof.experiment import Clean, Crafted, Experiment
from bitproof.metrics import robust_accuracy_curve
from trained_digits import run


def test_an_attack_without_a_budget_answers_every_budget(models, data, tmp_path):
    fmn, pgd = FMN(norm="linf", steps=30), PGD(eps=24 / 255, steps=10)
    result = run(models["float"], data, [fmn, pgd])
    clean, nearest, fixed = result.cells
    assert [c.condition.kind for c in result.cells] == ["clean", "minimum", "attack"]
    budgets = [0, 8 / 255, 24 / 255, 1]
    curve = robust_accuracy_curve(nearest, budgets, "linf")
    assert curve[0] == clean.correct.mean()
    assert (np.diff(curve) <= 0).all()
    assert curve[2] <= fixed.correct.mean() + 0.05
    assert {row["condition"] for row in result.summary().to_dict("records")} >= {"", fixed.condition.label}
    worst = [row for row in result.summary().to_dict("records") if row["metric"] == "wcar"]
    assert worst[0]["value"] == fixed.correct.mean()  # the other would make it 0
    result.report(tmp_path / "report.html")


def test_a_larger_budget_is_answered_where_nothing_is_left_to_attack(tmp_path):
    """By a model that does not take empty batches, on files."""
    from PIL import Image

    class Picky(nn.Module):
        def forward(self, x):
            assert len(x)
            mean = x.mean((1, 2, 3))
            return torch.stack([0.5 - mean, mean - 0.5], 1)

    for name, level in (("dark", 127), ("light", 128)):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((32, 32, 3), level, np.uint8)).save(tmp_path / name / "x.png")
    data = bp.load_data("folder", root=tmp_path, size=28)
    for crafting in ("exact", "folded"):
        result = run(Picky(), data, [PGD(eps=2 / 255), PGD(eps=4 / 255), CW()], crafting=crafting)
        assert [cell.correct.sum() for cell in result.cells] == [2, 0, 0, 0]
        assert [cell.forwards > 0 for cell in result.cells] == [True, True, False, True]


def test_budgets_go_in_increasing_order_and_what_is_broken_stays_broken(models, data, tmp_path):
    budgets = [Clean(), PGD(eps=32 / 255), PGD(eps=4 / 255), PGD(eps=16 / 255), PGD(eps=16 / 255, norm="l2")]
    store = tmp_path / "runs.db"
    chained = {c.condition.label: c for c in run(models, data, budgets, store=store).cells if c.model.name == "float"}
    alone = {
        c.condition.label: c
        for c in run(models, data, budgets, store=store, independent=True).cells
        if c.model.name == "float"
    }
    small, middle, large = (f"pgd-20 linf {eps}/255" for eps in (4, 16, 32))
    assert list(chained) == [c.label for c in budgets]  # shown in the order asked for
    for label in ("clean", small, "pgd-20 l2 0.06275"):
        assert chained[label].key == alone[label].key
    for label, before in ((middle, small), (large, middle)):
        assert chained[label].key != alone[label].key
        kept = ~chained[before].correct
        for name in ("predictions", "confidences", "linf"):
            np.testing.assert_array_equal(getattr(chained[label], name)[kept], getattr(chained[before], name)[kept])
            rest = ~kept  # attacked as if there had been no smaller budget
            np.testing.assert_allclose(
                getattr(chained[label], name)[rest], getattr(alone[label], name)[rest], atol=1e-5
            )
        assert 0 < kept.sum() < len(data)
        assert chained[label].forwards < alone[label].forwards
    reused = run(models, data, budgets, store=store)
    assert reused.computed == 0
    assert EOT(attack=budgets[1], draws=2) != EOT(attack=budgets[2], draws=2)
    experiment = Experiment(models=models, data=data, conditions=tuple(EOT(attack=b, draws=2) for b in budgets[1:]))
    averaged = [Crafted(attack=EOT(attack=budget, draws=2)) for budget in budgets[2:4]]
    assert experiment.easier(averaged[1]) == averaged[0]
    assert experiment.easier(Crafted(attack=EOT(attack=budgets[3], draws=3))) is None
