"""`bitproof audit`: exit codes, files for other programs, and what is refused."""

import json
from xml.etree import ElementTree

import pytest

import bitproof as bp

AUDIT = ["audit", "digits_cnn", "--data", "digits", "--limit", 12, "--scheme", "w4a8", "--quick"]


def test_the_verdict_its_files_and_the_store(run, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    ends = {"sarif": "sarif", "junit": "xml", "cyclonedx": "json", "markdown": "md", "report": "html"}
    files = {name: tmp_path / f"a.{end}" for name, end in ends.items()}
    options = [word for name, path in files.items() for word in (f"--{name}", path)]
    command = [*AUDIT, "--calibration-count", 32, "--store", tmp_path / "a.db"]
    code, out, _ = run(*command, *options)
    assert code in (0, 3) and "- phases (clean): " in out and "- specialness" in out and "Uncalibrated" in out
    assert json.loads(files["sarif"].read_text())["runs"] and ElementTree.parse(files["junit"])
    assert json.loads(files["cyclonedx"].read_text())["components"]
    assert files["markdown"].read_text() == (tmp_path / "step.md").read_text()
    page = files["report"].read_text()
    assert "<polyline" in page and "phases" in page and page.count("<svg") == 2
    again = run(*command, "--json")
    assert again[0] == code  # the format never changes the exit code
    found = json.loads(again[1])
    with bp.Store(tmp_path / "a.db", readonly=True) as store:
        assert len(store.query("evidence")) == len(found["evidence"]) == 3 and len(store.query("audit")) == 1


def test_clean_models_are_compared_with(run, tmp_path):
    folder = tmp_path / "clean"
    folder.mkdir()
    for seed, name in ((1, "a"), (1, "copy"), (0, "itself")):
        bp.save_model(bp.load_model("digits_cnn", seed=seed), folder / f"{name}.safetensors", architecture="digits_cnn")
    _, out, _ = run(*AUDIT, "--limit", 4, "--calibration-count", 32, "--calibrate", folder)
    assert "1 of the 19 clean models" in out  # a copy is no other model, and the audited one is none to compare with


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--deployed", "a.pt2"], "files of strangers"),
        (["--deployed", "a.onnx"], "there is no file"),
        (["--deployed", "a.pt"], ".onnx, .tflite or .xml file, or a quantized checkpoint"),
        (["--report", "nets.py"], "'nets.py' is a place for code"),
        (["--sarif", "x.json", "--cyclonedx", "./x.json"], "is to hold the SARIF file and the model card"),
        (["--scheme", "w32a32"], "what rounding of weights does"),
        (["--fail-on", "clean"], "unknown verdict to fail on 'clean'"),
        (["--calibrate", "nowhere"], "no checkpoints in 'nowhere'"),
        (["--scheme", "dorefa:w4a4"], "an audit asks what rounding to the nearest code"),
    ],
)
def test_what_cannot_be_audited_is_said(run, options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pt").write_bytes(b"weights")
    code, _, err = run(*AUDIT, "--calibration-count", 32, *options)
    assert code == 2 and words in err
