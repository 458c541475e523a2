"""Mistakes are found before any work, and named as the command line names things."""

import itertools
import os
import re
import shlex

import pytest

import bitproof as bp
from bitproof.cli.checks import SUFFIXES
from bitproof.export import WRITERS


@pytest.fixture
def place(weights, tmp_path, monkeypatch):
    """A folder with weights, a store, links to both, and another folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.safetensors").write_bytes(weights.read_bytes())
    data = bp.load_data("digits", limit=4)
    bp.evaluate(bp.load_model("digits_cnn"), data, suite="clean", store="runs.db", progress=False)
    for name, target in {"link.html": "runs.db", "w.link.safetensors": "w.safetensors"}.items():
        (tmp_path / name).symlink_to(target)
    (tmp_path / "hard.html").hardlink_to("runs.db")
    (tmp_path / "hard.csv").hardlink_to("runs.db")
    (tmp_path / "folder").mkdir()
    return tmp_path


EVALUATE = "evaluate digits_cnn --weights w.safetensors --data digits --limit 4 --suite clean"
OVER = [
    "report runs.db -o runs.db",
    "report runs.db -o folder/../runs.db",
    "report runs.db -o link.html",
    "report runs.db -o hard.html",
    "report runs.db -o runs.db-wal",
    "report link.html -o runs.db",
    "export runs.db -o hard.csv",
    f"{EVALUATE} --store runs.db --report link.html",
    f"{EVALUATE} --store new.db --report folder/../new.db",
    f"{EVALUATE} --report w.safetensors",
    "demo --store new.db --report new.db",
    "quantize digits_cnn --weights w.safetensors --data digits -o w.link.safetensors",
]


@pytest.mark.parametrize("line", OVER)
def test_no_output_is_one_of_the_inputs(line, run, place):
    before = {path.name: path.read_bytes() for path in place.glob("*.*")}
    code, out, err = run(*shlex.split(line))
    assert (code, out) == (2, "") and "is read and would be written over: no output is one of the inputs" in err
    assert {path.name: path.read_bytes() for path in place.glob("*.*")} == before


MISTAKES = {
    f"{EVALUATE} --report nowhere/r.html": "folder 'nowhere' does not exist",
    f"{EVALUATE} --report folder": "it is a folder",
    f"{EVALUATE} --report /dev/null": "it is a device or a pipe",
    f"{EVALUATE} --report runs.db": "it is a database",
    f"{EVALUATE} --ptq nearest": "--ptq nearest without --scheme",
    f"{EVALUATE} --scheme w4a4 --scheme affine:w4a4": "two models are called 'affine w4a4'",
    f"{EVALUATE} --ptq nearest:rounding=x --scheme w8a8": "unknown field of nearest 'rounding'",
    f"{EVALUATE} --scheme affine:w4a4,layers=x": "layers is 'x': a rule for layers is written PATTERN=",
    f"{EVALUATE} --condition 'eot:attack=(eps=1)'": "says of no attack which it is",
    f"{EVALUATE} --condition {'x' * 900}": r"unknown condition 'x+ \[...\] x+'",
    f"{EVALUATE} --transfer clean": "unknown attack .clean.",
    f"{EVALUATE} --condition crafted:attack=pgd,source=nobody": "unknown source of a transfer 'nobody'",
    f"{EVALUATE} --condition crafted:attack=pgd,targets={'9' * 5000}": "targets is '9+ ",
    f"{EVALUATE} --suite ''": "--suite is empty",
    f"{EVALUATE} --data imagenet:folder,size={'9' * 5000}": "it is a whole number of pixels",
    f"{EVALUATE} --seed {2**63}": "'--seed'",
    f"{EVALUATE} --classes 0": "'--classes'",
    f"{EVALUATE} --device cuda:99": "device 'cuda:99': here are cpu",
    "train standard digits_cnn --data digits -o run --device gpu": "device 'gpu': here are cpu",
    "quantize digits_cnn --data digits -o q.safetensors --device tpu:0": "device 'tpu:0': here are cpu",
    "demo --device cuda:99": "device 'cuda:99': here are cpu",
    f"{EVALUATE} --calibration-count 0": "'--calibration-count'",
    "evaluate resnet20 --data digits --suite clean": "images of 1 channels: the model takes 3",
    "demo --report nowhere/r.html": "folder 'nowhere' does not exist",
    "quantize digits_cnn --data digits -o q.pt --ptq brecq": "a checkpoint is a .safetensors file",
    "quantize digits_cnn --data digits -o q.safetensors --onnx folder/q": "the model is a .onnx file",
    "train standard digits_cnn --data digits -o run --weights run/last.safetensors": "lie in the output folder",
    f"train standard digits_cnn --data digits -o run --seed {2**70}": "'--seed'",
    "train standard:learning_rate=1e30 digits_cnn --data digits -o run": "learning_rate is 1e.30.*at most 1000",
    "train standard:momentum=9 digits_cnn --data digits -o run": "momentum is 9.0",
    "train qat:calibration=0 digits_cnn --data digits -o run": "calibration is 0",
    "train qat:penalty=-1 digits_cnn --data digits -o run": "the weight of a penalty is -1",
    "train standard digits_cnn --data digits -o runs.db/run": "'.*runs.db' is a file",
    "list made --store nowhere.db": "there is no store at 'nowhere.db'",
    "export runs.db -o folder/x.xlsx": "the export is a .parquet or .csv or .json file",
    "list made": "made without --store.*--store runs.db",
    f"{EVALUATE} --report x.txt": "the report is a .html or .htm file.*Call it x.html",
    f"{EVALUATE} --report results": "Call it results.html",
    "report runs.db -o r.md": "the report is a .html",
    "demo --report report.json": "the report is a .html",
    "check runs.db --require 'acc >= 0' --junit x.html": "the JUnit file is a .xml file",
    "check runs.db --require 'acc >= 0' --markdown x": "the Markdown file is a .md or .markdown file",
    "audit digits_cnn --data digits --sarif x.xml": "the SARIF file is a .sarif or .json file",
    "audit digits_cnn --data digits --junit x.json": "the JUnit file is a .xml file",
    "audit digits_cnn --data digits --cyclonedx x.sarif": "the model card is a .json file",
    "audit digits_cnn --data digits --markdown x.htm": "the summary is a .md",
    "submit runs.db --by me -o me.txt": "a submission is a .json file",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_what_can_be_checked_first_is_checked_first(line, run, place, monkeypatch):
    """Nothing of what computes is called, and nothing is written."""

    def work(*_, **__):
        raise AssertionError("work was begun")

    for owner, name in ((bp, "evaluate"), (bp, "quantize"), (bp.experiment, "train"), (bp, "save_model")):
        monkeypatch.setattr(owner, name, work)
    (place / "run").mkdir()
    (place / "run" / "last.safetensors").write_bytes((place / "w.safetensors").read_bytes())
    before = sorted(place.rglob("*"))
    code, out, err = run(*shlex.split(line))
    assert (code, out) == (2, ""), err
    assert re.search(MISTAKES[line], " ".join(err.replace("│", " ").split())), err
    assert len(err) < 2500 and sorted(place.rglob("*")) == before


def folder(root, classes):
    from PIL import Image

    for name in classes:
        (root / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(root / name / "0.png")
    return f"folder:{root},size=32"


def test_classes_of_a_folder_are_those_of_the_outputs(run, tmp_path):
    few, many = folder(tmp_path / "few", "abc"), folder(tmp_path / "many", "abcdefghijk")
    for command in (
        ["evaluate", "resnet20", "--suite", "clean"],
        ["train", "standard", "resnet20", "-o", tmp_path / "run"],
    ):
        code, _, err = run(*command, "--data", few)
        assert code == 2 and "has 10 outputs, data set 'folder' has 3 classes" in err
        code, _, err = run(*command, "--data", many)
        assert code == 2 and "has 10 outputs, data set 'folder' has 11 classes" in err


def test_results_may_lie_beside_the_data_but_not_over_them(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path, "abcdefghij")
    line = ["evaluate", "resnet20", "--data", "folder:.,size=32", "--suite", "clean", "--limit", 2]
    for _ in range(2):
        assert run(*line, "--store", "runs.db", "--report", "r.html")[0] == 0
    code, _, err = run(*line, "--report", "a/0.png")
    assert code == 2 and "'a/0.png' is read and would be written over" in err


def test_two_files_of_one_name_are_told_apart(run, weights, tmp_path, monkeypatch):
    seeds = itertools.count(1)
    monkeypatch.setattr(
        bp.deploy, "load_deployed", lambda path, *, trust: bp.load_model("digits_cnn", seed=next(seeds))
    )
    first, second = tmp_path / "a" / "m.onnx", tmp_path / "b" / "m.onnx"
    line = ["evaluate", "digits_cnn", "--weights", weights, "--data", "digits", "--limit", 4, "--suite", "clean"]
    assert run(*line, "--onnx", first, "--onnx", second, "--store", tmp_path / "runs.db")[0] == 0
    with bp.Store(tmp_path / "runs.db", readonly=True) as store:
        assert {cell.model.name for cell in store.query()} == {"float", str(first), str(second)}
    code, _, err = run(*line, "--onnx", first, "--onnx", first)
    assert code == 2 and f"two models are called '{first}'" in err


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("evaluate digits_cnn --data digits --store EMPTY", "--store"),
        ("evaluate digits_cnn --data digits --onnx q.onnx --onnx EMPTY", "--deployed"),
        ("evaluate EMPTY --data digits", "MODEL"),
        ("quantize digits_cnn -o EMPTY", "--output"),
        ("train standard digits_cnn --data digits -o EMPTY", "--output"),
        ("report EMPTY", "STORE"),
        ("export a.db -o EMPTY", "--output"),
        ("demo --report EMPTY", "--report"),
    ],
)
def test_no_empty_path_is_the_folder_one_is_in(line, name, run):
    code, out, err = run(*("" if word == "EMPTY" else word for word in line.split()))
    assert (code, out) == (2, "") and err.startswith(f"error: {name} is empty: ")


def test_suffixes_of_exports_are_those_of_its_writers():
    assert set(SUFFIXES["the export"]) == set(WRITERS)


def test_a_report_leaves_nothing_beside_the_store(run, place):
    assert run("report", "runs.db", "-o", "r.html")[0] == 0
    assert sorted(name for name in os.listdir(place) if name.startswith("runs")) == ["runs.db"]  # noqa: PTH208
