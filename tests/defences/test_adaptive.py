"""No defence is shown without the attack that knows of it, in Python, on the command line and in reports."""

import numpy as np
import pytest

import bitproof as bp
from bitproof.attacks import FMN, PGD, Adaptive, AutoAttack, DeepFool, Square
from bitproof.conditions import Clean, Crafted, with_adaptive
from bitproof.core.rng import Rng
from bitproof.defences import DEFENCES, Ensemble, Squeezing, parse_defence
from bitproof.errors import InputError
from bitproof.report import terminal
from report_page import one


def test_every_attack_brings_its_adaptive_form():
    def labels(*attacks, gradients=True, **fields):
        given = [Clean(), *(Crafted(attack=attack, **fields) for attack in attacks)]
        return [c.label for c in with_adaptive(given, gradients=gradients)]

    assert labels() == ["clean", "pgd-20 linf 8/255", "pgd-20 linf 8/255 adaptive"]
    assert labels(gradients=False)[1:] == ["square-500 linf 8/255", "square-500 linf 8/255 adaptive"]
    assert labels(PGD(norm="l2", eps=0.5), targets="next")[2] == "pgd-20 l2 0.5 adaptive to next"
    assert labels(Square(), PGD())[1:] == [Square().label, PGD().label, f"{PGD().label} adaptive"]
    assert labels(AutoAttack(eps=0.1), DeepFool())[1:] == [
        *(
            "autoattack linf 25.5/255",
            "pgd-100 linf 25.5/255 adaptive",
            DeepFool().label,
            f"{FMN(norm='l2').label} adaptive",
        )
    ]
    assert labels(Adaptive(attack=PGD())) == ["clean", "pgd-20 linf 8/255 adaptive", "pgd-20 linf 8/255 adaptive"]
    assert len(labels(PGD(), source="float")) == 4  # what is handed on has no adaptive form of its own


def test_an_undefended_model_is_attacked_once(models, data, tmp_path):
    behind = Squeezing(bits=4, window=1)(models["w4a4"])
    tested, few = {"float": models["float"], "behind": behind}, data.take(20)
    result = bp.evaluate(tested, few, conditions=["pgd:eps=16/255,steps=3"], store=tmp_path / "s.db", progress=False)
    cells = {(c.model.name, c.condition.label): c for c in result.cells}
    plain, adaptive = (cells["float", f"pgd-3 linf 16/255{end}"] for end in ("", " adaptive"))
    assert np.array_equal(plain.predictions, adaptive.predictions) and np.array_equal(plain.linf, adaptive.linf)
    assert ("behind", "pgd-3 linf 16/255 adaptive") in cells
    assert behind.view is None and cells["behind", "pgd-3 linf 16/255"].backwards > 0
    again = bp.evaluate(tested, few, conditions=["pgd:eps=16/255,steps=3"], store=tmp_path / "s.db", progress=False)
    assert (result.computed, again.computed, again.reused) == (6, 0, 6)


def test_a_defence_with_nothing_to_give_away_is_attacked_once(models, data, monkeypatch):
    made, call = [], PGD.__call__

    def counted(self, model, *given, **how):
        made.append(model)
        return call(self, model, *given, **how)

    monkeypatch.setattr(PGD, "__call__", counted)
    behind = Squeezing(bits=4, window=1)(models["w4a4"])
    counts = []
    for tested in (models["w4a4"], behind, Squeezing(detector="label")(models["w4a4"])):
        made.clear()
        result = bp.evaluate({"m": tested}, data.take(4), conditions=[PGD(eps=16 / 255, steps=2)], progress=False)
        counts.append((len(made), len(result.cells)))
    assert counts[0][0] == counts[1][0] < counts[2][0] and counts[1][1] == counts[2][1] == 3


def test_what_a_smaller_budget_only_had_taken_back_is_attacked_again(models, data):
    behind = Ensemble(agreeing=2)(*models.values())
    result = bp.evaluate(
        {"behind": behind},
        data.take(20),
        conditions=["pgd:eps=8/255,steps=2", "pgd:eps=64/255,steps=4"],
        progress=False,
    )
    fooled = [row["stands"] for row in bp.metrics.defences(result.cells)]
    clean, small, large, small_adaptive, large_adaptive = (
        next(c for c in result.cells if c.condition.label == label)
        for label in ("clean", *(f"pgd-{s} linf {e}/255{a}" for a in ("", " adaptive") for s, e in ((2, 8), (4, 64))))
    )
    assert len(fooled) == 5 and not clean.fooled.all()
    assert (small.fooled <= large.fooled).all() and (small_adaptive.fooled <= large_adaptive.fooled).all()
    assert large_adaptive.fooled.mean() > 0.5


def test_reports_and_tables_show_both_attacks(models, data, tmp_path):
    behind = Ensemble(agreeing=2)(*models.values())
    tested = {"float": models["float"], "behind": behind}
    result = bp.evaluate(tested, data.take(4), conditions=["fgsm:eps=0.1"], progress=False)
    page = one(tmp_path, result.records)
    (table,) = [t for t in page.all("table", "metrics") if "Answered" in t.text]
    assert "fgsm linf 25.5/255 adaptive" in table.text
    (shown,) = terminal.defence_table(result.records, "float")
    assert {"clean: answered", "fgsm linf 25.5/255 adaptive: not fooled"} <= set(shown.columns[0]._cells)


def test_a_defence_is_an_option(run, tmp_path):
    command = ["evaluate", "digits_cnn", "--data", "digits", "--limit", 6, "--scheme", "w8a32", "--suite", "clean"]
    command += ["--condition", "fgsm:eps=0.1", "--defence", "ensemble:agreeing=2", "--defence", "squeezing:window=1"]
    code, out, err = run(*command)
    assert code == 0, err
    assert "ensemble m=2" in out and "w8a32, squeezing 5 bits" in out and "fgsm linf 25.5/255 adaptive" in out
    code, _, err = run(*command, "--defence", "squeezing:detector=l3")
    assert code == 2 and "unknown detector 'l3'" in err
    code, _, err = run("evaluate", "digits_cnn", "--data", "digits", "--limit", 6, "--defence", "ensemble:agreeing=2")
    assert code == 2 and "made of at least 2 models" in err


@pytest.mark.parametrize("name", DEFENCES)
def test_settings_are_values_and_models_are_left_as_they_are(name, models):
    defence = parse_defence(name)
    assert defence == type(defence)() and hash(defence) == hash(type(defence)()) and defence.label
    given = list(models.values())[: 2 if defence.joint else 1]
    before = [bp.tagged(model).fingerprint for model in given]
    clean = bp.load_data("digits", split="train", limit=16)
    made = [defence(*given, clean=clean) for _ in range(2)]
    assert [bp.tagged(model).fingerprint for model in given] == before
    prints = [bp.tagged(model).fingerprint for model in made]
    assert prints[0] == prints[1] not in before
    assert not made[0].training and len(list(made[0].parameters())) >= len(list(given[0].parameters()))


def test_a_defence_that_takes_back_needs_an_attack_that_can_be_sent(models, data):
    behind, images = Ensemble(agreeing=2)(*models.values()), data.images(range(4))
    with pytest.raises(InputError, match="DeepFool against a defence that takes answers back.*sent to one"):
        Adaptive(attack=DeepFool())(behind, images, behind(images).argmax(1), rng=Rng(0, np.arange(4)))
