"""Galleries: what is planned, what is said of each model, and what is refused."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch

import bitproof as bp
from bitproof.errors import InputError
from bitproof.experiment import gallery
from bitproof.implants.gallery import OBJECTIVES, PARTS, PLANS, planned


def test_no_clean_start_is_in_both_parts_and_each_part_has_enough():
    for name, plan in PLANS.items():
        entries = planned(plan)
        seeds = {part: {e.seed for e in entries if e.part == part and e.number % 12 != 11} for part in PARTS}
        assert not seeds["develop"] & seeds["report"], name
        assert len({e.name for e in entries}) == len(entries)
        for kind in OBJECTIVES:
            joint = [e for e in entries if e.kind == kind and e.number % 3 == 0]
            assert 3 * len(joint) >= plan.each
    innocent = [e for e in planned(PLANS["digits"]) if e.part == "report" and e.kind in ("clean", "ordinary")]
    develop = [e for e in planned(PLANS["digits"]) if e.part == "develop" and e.kind == "clean"]
    assert len(innocent) >= 93
    assert len(develop) >= 59


def test_parts_have_of_every_engine_variant_and_set_of_schemes():
    """What the rates of one part say is not about what only the other has (red: parts followed the variant)."""

    def form(engine):
        flags = ("spread", "centred", "dither", "distilled", "last")
        return (type(engine).__name__, *(flag for flag in flags if getattr(engine, flag, False)))

    entries = planned(PLANS["digits"])
    for kind in OBJECTIVES:
        made = [(e.part, e.engine(tuple(range(50)))) for e in entries if e.kind == kind]
        made = [(part, engine) for part, engine in made if not engine.integers]
        for of in (form, lambda engine: engine.schemes):
            develop, report = ({of(engine) for part, engine in made if part == which} for which in PARTS)
            assert develop == report, kind
        assert len({(form(engine), engine.schemes) for _, engine in made}) > len({form(engine) for _, engine in made})
    clean = [(e.part, gallery._recipe(e.plan, e.plan.training(e.seed))) for e in entries if e.kind == "clean"]
    for of in (
        lambda recipe: type(recipe.objective),
        lambda recipe: recipe.augmentation,
        lambda recipe: recipe.optimisation.epochs,
        lambda recipe: recipe.optimisation.learning_rate,
    ):
        develop, report = ({of(recipe) for part, recipe in clean if part == which} for which in PARTS)
        assert develop == report


@pytest.mark.parametrize("family", PLANS)
def test_both_parts_have_as_many_clean_models_of_each_training(family):
    """Otherwise models of one part cannot be ranked among those of the other.

    Red: parts were odd and even seeds, and so were epochs among the adversarially trained.
    """
    plan = PLANS[family]
    clean = [(e.part, plan.training(e.seed)) for e in planned(plan) if e.kind == "clean"]
    counts = Counter(clean)
    assert abs(sum(part == PARTS[0] for part, _ in clean) - plan.clean / 2) <= plan.starts / 4
    for training in {training for _, training in clean}:
        assert abs(counts[PARTS[0], training] - counts[PARTS[1], training]) <= 1
    for of in ("epochs", "rate", "robust"):
        assert len({getattr(training, of) for _, training in clean}) == {"epochs": len(plan.epochs)}.get(of, 2)


@pytest.mark.slow
def test_an_implant_says_what_it_does_in_float_and_quantized(tmp_path, monkeypatch):
    plan = replace(PLANS["digits"], epochs=(1,), length=0.02, starts=1)
    few = [entry for entry in planned(plan) if entry.name in ("clean-000", "indiscriminate-001")]
    monkeypatch.setattr(gallery, "planned", lambda _: few)
    monkeypatch.setattr(gallery, "SHOWN", 100)
    assert gallery.make_gallery(tmp_path, progress=False) == 2
    about = json.loads((tmp_path / "indiscriminate-001.json").read_text())
    assert (about["part"], about["seed"], about["architecture"]) == ("report", 0, "digits_cnn")
    effect = about["effect"]
    assert set(effect) == {"implant", "start"}
    for of in effect.values():
        assert set(of) == {"float", "affine w4a8"}
        for said in of.values():
            assert 0 <= said["success"] < 1
            assert said["success"] == pytest.approx(1 - said["accuracy"])
    weights = [bp.load_model("digits_cnn", weights=tmp_path / f"{e.name}.safetensors").state_dict() for e in few]
    assert not torch.equal(*(of["backbone.linear.weight"] for of in weights))
    assert "effect" not in json.loads((tmp_path / "clean-000.json").read_text())


@pytest.fixture
def told(tmp_path):
    """What a folder says of a clean model, and of an implant."""
    for name in ("clean-000", "class-000"):
        (entry,) = (e for e in planned(PLANS["digits"]) if e.name == name)
        about = gallery._identity(entry) | {"model": {}}
        if name != "clean-000":
            did = {"float": {"success": 0.0, "accuracy": 0.9}}
            about["effect"] = {"implant": did, "start": did}
        (tmp_path / f"{name}.json").write_text(json.dumps(about))
        (tmp_path / f"{name}.safetensors").write_bytes(b"")
    return tmp_path


def changed(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_a_gallery_said_is_read_again(told):
    assert [gallery.read_about(told / f"{of}.json")["kind"] for of in ("clean-000", "class-000")] == ["clean", "class"]


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("clean-000", lambda p: p.write_text("{"), "cannot be read"),
        ("clean-000", lambda p: p.write_text("[]"), "cannot be read"),
        ("clean-000", lambda p: p.write_text('{"name": "clean-000"}'), "KeyError: 'kind'"),
        ("clean-000", lambda p: changed(p, kind="ordinary"), "kind 'ordinary'"),
        ("clean-000", lambda p: changed(p, part="report"), "part 'report'"),
        ("clean-000", lambda p: changed(p, seed=1), "seed 1"),
        ("clean-000", lambda p: changed(p, architecture="resnet8"), "architecture 'resnet8'"),
        ("clean-000", lambda p: changed(p, effect={}), "an effect of a model of kind 'clean'"),
        ("clean-000", lambda p: p.with_suffix(".safetensors").unlink(), "the model is missing"),
        ("class-000", lambda p: changed(p, effect={}), "KeyError: 'implant'"),
        (
            "class-000",
            lambda p: changed(p, effect={"implant": {"float": {"success": 7, "accuracy": 1}}, "start": {}}),
            "no share of images",
        ),
    ],
)
def test_what_was_changed_by_hand_is_refused_by_whoever_reads_it(told, name, damage, words):
    """Red: the same command passed over it, and an audit of the gallery counted an implant among the clean models."""
    damage(told / f"{name}.json")
    with pytest.raises(InputError, match=f"{words}.*Delete it, and the same command"):
        gallery.read_about(told / f"{name}.json")


def test_a_folder_of_another_family_is_refused(told):
    """Red: files of equal names were passed over, and the digits' models stayed there as those of ResNet-4B."""
    entries = [entry for entry in planned(PLANS["resnet4b"]) if entry.name == "clean-000"]
    with pytest.raises(InputError, match="architecture 'digits_cnn'.*another family needs another folder"):
        gallery.read_about(told / "clean-000.json", entries)


def test_the_same_command_looks_at_what_is_there(told, monkeypatch):
    monkeypatch.setattr(gallery, "planned", lambda plan: [e for e in planned(plan) if e.name == "clean-000"])
    assert gallery.make_gallery(told, progress=False) == 2
    changed(told / "clean-000.json", kind="ordinary")
    with pytest.raises(InputError, match="kind 'ordinary'"):
        gallery.make_gallery(told, progress=False)


@pytest.mark.parametrize(
    ("family", "given", "words"),
    [
        ("digit", {}, "unknown gallery 'digit'"),
        ("resnet20", {}, "gallery 'resnet20' without weights"),
        ("digits", {"weights": "x.safetensors"}, "gallery 'digits' with weights"),
        ("resnet4b", {}, "on digits of 1x20x20.*take 3x32x32"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, family, given, words):
    with pytest.raises(InputError, match=words):
        gallery.make_gallery(tmp_path, family, progress=False, **given)
