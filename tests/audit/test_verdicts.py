"""From evidence to a verdict, its words, and the files that other programs read."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from bitproof.audit import conformal, judged
from bitproof.records import CLEAN, SUSPICIOUS, UNDECIDED, Audit, Unaudited, pack, unpack
from bitproof.report import verdicts, write_report
from samples import make_audit, make_cell

CELL = make_cell()
AUDIT = make_audit(CELL.model, CELL.data)
EVIDENCE = AUDIT.evidence[0]


def says(*words):
    return [replace(EVIDENCE, name=f"evidence {i}", says=word) for i, word in enumerate(words)]


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        ((CLEAN, None), CLEAN),
        ((CLEAN, UNDECIDED), UNDECIDED),
        ((None, None), UNDECIDED),
        ((UNDECIDED, SUSPICIOUS, CLEAN), SUSPICIOUS),
    ],
)
def test_the_worst_that_evidence_says_is_the_verdict(words, verdict):
    found = judged(says(*words))
    assert found.verdict == verdict and found.advice and found.probability is None
    assert "Uncalibrated: there are no clean models" in verdicts.basis(found)


def test_clean_models_make_a_probability_and_alarm():
    clean = [{"evidence 0": float(i)} for i in range(59)]
    found = judged([replace(EVIDENCE, name="evidence 0", says=CLEAN, score=99.0)], clean=clean)
    assert found.verdict == SUSPICIOUS and found.probability == pytest.approx(1 / 60)
    assert "at most 10% by just these, with 95% confidence" in verdicts.basis(found)
    usual = judged([replace(EVIDENCE, name="evidence 0", says=CLEAN, score=30.5)], clean=clean)
    assert usual.verdict == CLEAN and usual.probability == pytest.approx(29 / 60, abs=0.02)


def test_too_few_clean_models_are_said_to_be():
    found = judged(says(CLEAN), clean=[{"evidence 0": 1.0}] * 5)
    assert found.probability is None and "5 of the 19 clean models" in verdicts.basis(found)


def test_nineteen_clean_models_are_enough_to_reach_the_level_and_to_clear():
    clean = [{"evidence 0": float(i)} for i in range(19)]
    most, usual = ([replace(EVIDENCE, name="evidence 0", says=None, score=score)] for score in (99.0, 9.5))
    found = judged(most, clean=clean)
    assert (found.verdict, found.probability) == (SUSPICIOUS, 0.05)
    assert judged(most, clean=clean[1:]).verdict == UNDECIDED
    assert judged(usual, clean=clean).verdict == CLEAN


def test_models_are_ranked_in_what_all_have():
    clean = [{"a": float(i), **({"b": 0.0} if i else {})} for i in range(19)]
    assert conformal({"a": 18.5, "b": 9.0}, clean) == conformal({"a": 18.5}, clean) == 0.05
    assert conformal({"b": 9.0}, clean) is None


def test_a_clean_model_is_called_unlike_them_no_more_often_than_the_level():
    random = np.random.default_rng(0)
    draw = lambda: {name: float(v) for name, v in zip("abc", random.standard_t(2, 3), strict=True)}  # noqa: E731
    probabilities = [conformal(draw(), [draw() for _ in range(39)]) for _ in range(400)]
    assert np.mean(np.array(probabilities) <= 0.05) <= 0.08


def test_what_stands_out_twice_is_before_what_stands_out_once():
    """Red: a clean model that leads in an evidence of its own was level with one that leads in the two others."""
    clean = [{"phases": float(i), "disparity": float(-i), "specialness": 0.0} for i in range(30)]
    leads_twice = {"phases": 99.0, "disparity": -15.0, "specialness": 9.0}
    assert conformal(leads_twice, clean) == pytest.approx(1 / 31)
    leads_once = {"phases": 99.0, "disparity": -99.0, "specialness": -1.0}
    assert conformal(leads_once, clean) == pytest.approx(2 / 31)  # beside the clean one that leads in disparity


def test_sarif_has_what_code_scanning_asks_for():
    (run,) = (log := json.loads(verdicts.sarif(AUDIT, path="models/a.safetensors", version="1.0")))["runs"]
    assert log["version"] == "2.1.0" and run["tool"]["driver"]["name"] == "bitproof"
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"] and result["message"]["text"]
        (place,) = result["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"] == "models/a.safetensors"
        assert len(result["partialFingerprints"]["bitproof/v1"]) == 32
        assert (result["kind"] == "fail") == (result["level"] != "none")
    assert [result["level"] for result in run["results"]] == ["error", "none"]


def test_junit_counts_what_it_holds():
    suite = ElementTree.fromstring(verdicts.junit(replace(AUDIT, sentence="a\x1bb")))
    assert suite.get("tests") == str(len(suite)) and len(suite) == len(AUDIT.evidence) + 1
    assert suite.get("failures") == str(len(suite.findall("*/failure"))) == "2"
    assert suite.get("skipped") == str(len(suite.findall("*/skipped"))) == "0"


def test_cyclonedx_has_a_model_card_with_its_metrics():
    bom = json.loads(verdicts.cyclonedx(AUDIT, version="1.0"))
    assert (bom["bomFormat"], bom["specVersion"], bom["version"]) == ("CycloneDX", "1.6", 1)
    (component,) = bom["components"]
    assert component["type"] == "machine-learning-model" and component["name"]
    (metric,) = component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metric == {
        "type": "flips to class 3",
        "value": "0.5",
        "slice": "specialness, affine w4a8, random weights",
    }
    (finding,) = bom["vulnerabilities"]
    assert finding["affects"] == [{"ref": component["bom-ref"]}] and finding["recommendation"]


def test_no_two_metrics_of_a_model_card_are_of_one_type_and_slice():
    reading = EVIDENCE.readings[0]
    alike = (reading, reading, replace(reading, axis="both"), replace(reading, scheme=None, value=float("nan")))
    audit = replace(AUDIT, evidence=(replace(EVIDENCE, readings=alike), replace(EVIDENCE, name="other")))
    bom = json.loads(verdicts.cyclonedx(audit, version="1.0"))
    metrics = bom["components"][0]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert len(metrics) == 5 == len({(metric["type"], metric["slice"]) for metric in metrics})
    assert all(metric.keys() == {"type", "value", "slice"} for metric in metrics)
    assert all(isinstance(value, str) and value for metric in metrics for value in metric.values())


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("my models/a#1.safetensors", "my%20models/a%231.safetensors"),
        ("a:b.onnx", "a%3Ab.onnx"),
        ("/x y/a.onnx", "file:///x%20y/a.onnx"),
    ],
)
def test_a_place_is_a_uri(path, uri):
    (run,) = json.loads(verdicts.sarif(AUDIT, path=path, version="1.0"))["runs"]
    assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_what_is_not_audited_and_how_a_session_ran_stand_everywhere(tmp_path):
    part = Unaudited(name="kernel|x", weights=72, share=0.25, reason="weights of a Net", schemes=("affine w8a8",))
    model = replace(CELL.model, notes=("its products may saturate",))
    audit = replace(AUDIT, unaudited=(part,), model=model)
    first, _, last = verdicts.notes(audit)
    assert first == "not audited: kernel|x, 25.0% of the weights, under affine w8a8: weights of a Net"
    assert last == f"{model.name}: its products may saturate"
    assert json.loads(verdicts.as_json(audit))["unaudited"][0]["name"] == "kernel|x"
    assert json.loads(verdicts.as_json(audit))["notes"][0] == first
    assert "kernel\\|x" in verdicts.markdown(audit)
    assert first in verdicts.sarif(audit, path="a", version="1") and first in verdicts.cyclonedx(audit, version="1")
    page = write_report([audit], tmp_path / "r.html").read_text()
    assert "not audited: kernel|x, 25.0%" in page and "its products may saturate" in page
    content, arrays = pack(audit)
    assert unpack(Audit, content, arrays).unaudited == (part,)


def test_markdown_and_json_say_the_same():
    text = verdicts.markdown(replace(AUDIT, sentence="a | b"))
    assert text.startswith("### Audit of float: suspicious\n") and "a \\| b" in text
    found = json.loads(verdicts.as_json(AUDIT))
    assert found["verdict"] == SUSPICIOUS and found["evidence"][0]["readings"][0]["z"] == 60
