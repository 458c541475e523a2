"""Clean models that come with bitproof: they count for what was asked exactly as they were, and otherwise it is said
why not."""

from dataclasses import asdict, replace

import pytest

import bitproof as bp
from bitproof.audit import QUICK, Case, Phases, built_in, family_of, judged, scores
from bitproof.audit.families import FOLDER, Family, families, read, write
from bitproof.experiment.auditing import SCHEMES
from bitproof.records import CLEAN, SUSPICIOUS, DataRecord, Evidence, ModelRecord
from bitproof.report import verdicts

BASIS = {"schemes": [{"type": "Scheme", "weight_bits": 8}], "calibration": "c", "labelled": True, "folded": False}
GOLDEN = {"phases": 1.8069, "disparity": 0.1, "specialness": 3.0}
"""Scores of the untrained network of seed 1."""

DATA = DataRecord(name="digits", split="test", fingerprint="d", count=9, classes=tuple("0123456789"))


def evidence(name="phases", score=1.0, *, model="m", architecture="net", says=CLEAN, seed=0, **setting) -> Evidence:
    return Evidence(
        name=name,
        model=ModelRecord(name=model, fingerprint=model, architecture=architecture),
        data=DATA,
        seed=seed,
        setting={"inquiry": {"type": name}, "revision": 1, **BASIS, **setting},
        says=says,
        sentence=f"{name}.",
        score=score,
    )


@pytest.fixture(scope="module")
def family() -> Family:
    """59 clean models, scored 0 to 58 by one inquiry and backwards by another."""
    models = [
        [evidence(score=float(i), model=f"clean {i}"), evidence("specialness", 58.0 - i, model=f"clean {i}")]
        for i in range(59)
    ]
    return family_of("bitproof audit net --quick", "trained by us", models)


def test_a_model_that_is_asked_the_same_is_ranked_among_them(family):
    own = [evidence(score=99.0), evidence("specialness", 30.0)]
    clean, said = built_in(own, [family])
    assert clean == [{"phases": float(i), "specialness": 58.0 - i} for i in range(59)]
    found = judged(own, clean=clean, family=said)
    assert found.verdict == SUSPICIOUS and found.calibrated_on == 59
    assert found.probability == pytest.approx(1 / 60)  # the first of the other inquiry is far behind in this one
    words = verdicts.basis(found)
    assert "59 clean models of net that bitproof has audited (trained by us)" in words
    assert "5% are called suspicious for it on average, and at most 10%" in words


def test_fewer_inquiries_are_asked_the_same_and_the_model_itself_is_none_of_them(family):
    clean, _ = built_in([evidence(score=3.0, model="clean 7")], [family])
    assert len(clean) == 58 and all(of["phases"] != 7 for of in clean)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (evidence(schemes=[]), "other schemes"),
        (evidence(calibration="e"), "other images for the ranges"),
        (evidence(inquiry={"type": "phases", "limit": 3}), "inquiries of other settings"),
        (evidence(revision=2), "another version"),
        (evidence(labelled=False), "labels used otherwise"),
        (evidence(folded=True), "BatchNorm folded otherwise"),
        (evidence(seed=1), "another seed"),
        (evidence("sharpness"), "fewer inquiries"),
        (replace(evidence(), data=replace(DATA, fingerprint="e")), "other images"),
        (replace(evidence(), deployed=evidence().model), "no deployed model beside them"),
    ],
)
def test_one_that_is_asked_otherwise_is_uncalibrated_and_told_why(family, own, words):
    clean, said = built_in([own], [family])
    assert not clean and words in said and "`bitproof audit net --quick` asks the same" in said
    found = judged([own], clean=clean, family=said)
    words = verdicts.basis(found)
    assert found.probability is None and words.startswith(f"Uncalibrated: {said}, so the verdict")
    assert ("--calibrate FOLDER" in words) == (own.deployed is None)  # which an audit of a pair does not take


def test_one_inquiry_that_was_asked_otherwise_is_enough(family):
    for other, words in (
        (evidence("sharpness"), "fewer inquiries"),
        (evidence("specialness", calibration="e"), "other images for the ranges"),
    ):
        clean, said = built_in([evidence(), other], [family])
        assert not clean and words in said


def test_of_several_families_the_one_that_was_asked_most_alike_counts(family):
    far = replace(family, seed=1, data="e", command="far")
    assert len(built_in([evidence()], [far, family])[0]) == len(built_in([evidence()], [family, far])[0]) == 59
    assert "`bitproof audit net --quick` asks" in built_in([evidence(folded=True)], [far, family])[1]


@pytest.mark.parametrize("architecture", ["other", None])
def test_of_other_networks_there_are_none(family, architecture):
    clean, said = built_in([evidence(architecture=architecture)], [family])
    assert not clean and f"no clean models of {architecture or 'this network'}" in said


def test_a_family_is_of_one_network_and_asked_alike(family, tmp_path):
    for other in (evidence(architecture="other"), evidence(seed=1), evidence("sharpness")):
        with pytest.raises(bp.InputError, match="clean models of a family are audited alike"):
            family_of("", "", [[evidence()], [other]])
    with pytest.raises(bp.InputError, match="a family has a named architecture"):
        family_of("", "", [[evidence(architecture=None)]])
    write(family, tmp_path / "net.json")
    assert read(tmp_path / "net.json") == family
    assert asdict(family)["seed"] == 0


def test_what_comes_with_bitproof_is_whole():
    assert len(families()) == len([*FOLDER.glob("*.json")]) > 0
    assert all(len(family.models) >= 19 for family in families())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:-9], "column"),
        (lambda text: "[]", "mapping"),
        (lambda text: text.replace('"seed"', '"seeds"', 1), "seed"),
        (lambda text: text.replace('"phases": 7.0', '"phases": NaN'), "no number"),
        (lambda text: text.replace('"phases": 7.0', '"phases": "7"'), "real number"),
        (lambda text: text.replace('"phases": 7.0', '"phase": 7.0'), "not asked the same"),
    ],
)
def test_a_file_that_was_changed_is_named(family, tmp_path, change, words):
    """Red: a `JSONDecodeError` from the inside, a `TypeError`, or a rank among scores that are none."""
    write(family, tmp_path / "net.json")
    (tmp_path / "net.json").write_text(change((tmp_path / "net.json").read_text()))
    with pytest.raises(bp.InputError, match=rf"net.json' cannot be read \(.*{words}.*Install bitproof again"):
        read(tmp_path / "net.json")


def test_a_store_keeps_what_other_clean_models_come_to(monkeypatch, model, tmp_path):
    """Red: with an equal rank the audit that was there stayed, which named clean models that no longer counted."""
    data = bp.load_data("digits", limit=2)
    ask = {"schemes": ["w4a32"], "inquiries": [Phases()], "progress": False, "store": tmp_path / "a.db"}
    mine = family_of("bitproof audit", "ours", [bp.audit_model(model, data, data, **ask).evidence])
    for count, made in ((19, "ours"), (39, "others")):
        of = replace(mine, models={str(i): {"phases": 1e9} for i in range(count)}, made=made)
        monkeypatch.setattr("bitproof.audit.families.families", lambda of=of: (of,))
        assert bp.audit_model(model, data, data, **ask).probability == 1
    with bp.Store(tmp_path / "a.db", readonly=True) as store:
        kept = store.query("audit")
    assert [(of.calibrated_on, made in of.family) for of, made in zip(kept[1:], ("ours", "others"), strict=True)] == [
        (19, True),
        (39, True),
    ]


@pytest.fixture(scope="module")
def digits():
    """A network of digits, and what `bitproof audit digits_cnn --data digits --quick` looks at."""
    train = bp.load_data("digits", split="train", limit=512)
    return bp.load_model("digits_cnn", seed=1), bp.load_data("digits", limit=500), train


def test_a_quick_audit_of_the_digits_is_asked_what_they_were(digits):
    """Or all of them would be of no use from some change on, and nobody would notice."""
    (own,) = (family for family in families() if family.architecture == "digits_cnn")
    case = Case.of(*digits, schemes=tuple(map(bp.Scheme.parse, SCHEMES)))
    assert {inquiry.name: inquiry.setting(case) for inquiry in QUICK if inquiry.name != "pair"} == own.asked
    assert (case.records[2].fingerprint, case.records[0].architecture) == (own.data, own.architecture)


@pytest.mark.slow
def test_scores_are_those_of_the_day_that_they_were_measured(digits):
    """Where this fails, what inquiries compute has changed: give it a new revision, and measure the families again."""
    found = bp.audit_model(*digits, quick=True, progress=False)
    assert found.calibrated_on >= 19 and scores(found.evidence) == pytest.approx(GOLDEN, rel=1e-3)


def test_clean_models_that_are_given_count_instead(monkeypatch, model):
    data = bp.load_data("digits", limit=2)
    ask = {"schemes": ["w4a32"], "inquiries": [Phases()], "progress": False}
    alone = bp.audit_model(model, data, data, **ask)
    mine = family_of("bitproof audit", "ours", [[replace(alone.evidence[0], score=0.0)]] * 2)
    mine = replace(mine, models={str(i): {"phases": float(i)} for i in range(19)})
    monkeypatch.setattr("bitproof.audit.families.families", lambda: (mine,))
    assert bp.audit_model(model, data, data, **ask).calibrated_on == 19
    other = bp.audit_model(model, data, data, clean=[bp.load_model("digits_cnn", seed=3)], **ask)
    assert (other.calibrated_on, other.family, other.probability) == (1, "", None)


def test_an_implant_is_no_clean_model(model):
    """Red: a gallery's folder was calibrated on as it is, implants among the clean models."""
    data, other = bp.load_data("digits", limit=2), bp.load_model("digits_cnn", seed=3)
    other.origin = {"implant": {"engine": "joint"}}
    with pytest.raises(bp.InputError, match="clean 1 is an implant, as its origin says.*Leave it out"):
        bp.audit_model(model, data, data, schemes=["w4a32"], inquiries=[Phases()], clean=[other], progress=False)
