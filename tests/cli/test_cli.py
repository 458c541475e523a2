import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import bitproof as bp
from bitproof.store import Store
from bitproof.train import standard


def evaluate(weights, *more):
    return ["evaluate", "digits_cnn", "--weights", weights, "--data", "digits", "--limit", 40, *more]


def test_evaluate_prints_the_table_and_a_second_run_reuses_it(run, weights, tmp_path):
    store, report = tmp_path / "runs.db", tmp_path / "report.html"
    command = evaluate(weights, "--scheme", "w8a8", "--scheme", "dorefa:w4a32", "--store", store, "--suite", "clean")
    code, out, _ = run(*command, "--condition", "fgsm:eps=4/255", "--report", report)
    assert code == 0
    for words in (
        "n = 40",
        "float",
        "affine w8a8",
        "dorefa w4a32",
        "fgsm linf 4/255",
        "AAI",
        "6 results computed, 0 found",
    ):
        assert words in out
    assert report.stat().st_size > 10_000
    code, again, _ = run(*command)
    assert "0 results computed, 3 found" in again
    accuracy = re.search(r"clean\s+│\s+([\d.]+)", out)
    assert accuracy is not None
    with Store(store, readonly=True) as opened:
        cell = opened.query(model="float", kind="clean")[0]
        assert float(accuracy[1]) == pytest.approx(100 * cell.correct.mean(), abs=0.01)
        command_line = opened.environments()[1]["command"]
    assert command_line[:2] == ["bitproof", "evaluate"]


def test_evaluate_says_which_conditions_showed_the_same_pixels(run, weights, monkeypatch):
    code, out, _ = run(
        *evaluate(weights, "--condition", "pipeline:decoder=opencv", "--condition", "pipeline:resize=opencv-area")
    )
    assert code == 0
    assert "note: decoder opencv gave the same pixels as clean on all 40 images" in out
    assert out.count("note:") == 1
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = run(*evaluate(weights, "--suite", "robustmq-systematic"))
    assert code == 2 and "pip install 'bitproof[video]'" in err


def test_quantize_then_evaluate_the_checkpoint(run, weights, tmp_path):
    path = tmp_path / "q.safetensors"
    code, out, _ = run(
        "quantize", "digits_cnn", "--weights", weights, "--data", "digits", "--scheme", "w4a4", "-o", path
    )
    assert (code, "affine w4a4" in out) == (0, True)
    loaded = bp.load_model("digits_cnn", weights=path)
    images = bp.load_data("digits", limit=20).images(range(20))
    train = bp.load_data("digits", split="train", limit=512)
    direct = bp.quantize(bp.load_model("digits_cnn", weights=weights), bp.Scheme(weight_bits=4, act_bits=4), train)
    assert torch.equal(loaded(images), direct(images))
    code, out, _ = run(*evaluate(path, "--suite", "clean"))
    assert (code, "affine w4a4" in out) == (0, True)
    code, _, err = run(*evaluate(path, "--scheme", "w8a8"))
    assert (code, "quantized already (affine w4a4)" in err) == (2, True)
    code, _, err = run("evaluate", "resnet20", "--weights", path, "--data", "digits")
    assert (code, "holds a digits_cnn" in err) == (2, True)


def test_report_and_export_read_a_store(run, weights, tmp_path):
    store, table = tmp_path / "runs.db", tmp_path / "cells.parquet"
    run(*evaluate(weights, "--suite", "clean", "--store", store))
    code, out, _ = run("report", store, "-o", tmp_path / "r.html")
    assert (code, (tmp_path / "r.html").exists()) == (0, True)
    code, out, _ = run("export", store, "-o", table)
    assert (code, "40 rows" in out, len(pd.read_parquet(table))) == (0, True, 40)


@pytest.mark.parametrize(
    "family", [None, "models", "schemes", "data", "attacks", "corruptions", "objectives", "metrics", "suites"]
)
def test_list(run, family):
    code, out, _ = run("list", *([family] if family else []))
    assert code == 0
    expected = {"models": "resnet20", "schemes": "dorefa", "data": "cifar10", "attacks": "pgd", "corruptions": "jpeg"}
    expected |= {"objectives": "cross-entropy", "metrics": "accuracy"}
    assert expected.get(family, "quick") in out
    assert all(len(line.split()) >= 3 for line in out.splitlines() if line.startswith("  "))
    assert "partial(" not in out


def test_list_says_which_bits_a_method_is_defined_for(run):
    _, out, _ = run("list", "schemes")
    lines = {line.split()[0]: line for line in out.splitlines() if ":wXaY" in line}
    assert lines["lsq+:wXaY"].endswith("Weights 2-8 or 32 bits, activations 2-8 or 32 bits.")
    assert lines["xnor:wXaY"].endswith("Weights 1 or 32 bits, activations 1 or 32 bits.")
    assert lines["ttq:wXaY"].endswith("Weights 2 or 32 bits, activations float.")


def test_version(run):
    assert run("--version")[:2] == (0, f"bitproof {bp.__version__}\n")


BROKEN = {
    "a wrong weights path": (
        ["--weights", "missing.safetensors"],
        "missing.safetensors.*does not exist.*Check the path",
    ),
    "shapes that do not fit": (
        ["--weights", "shapes.safetensors"],
        "does not fit.*linear.weight is .*3, 64.* in the file",
    ),
    "weights with NaN": (["--weights", "nan.safetensors"], "holds NaN or infinity"),
    "a pickled object": (["--weights", "object.pt"], "cannot be read"),
    "a pickled list": (["--weights", "list.pt"], "holds a list.*flat dictionary"),
    "an unknown data set": (["--data", "cifar11:."], "unknown data set 'cifar11'.*Did you mean 'cifar10'"),
    "a wrong root": (["--data", "cifar10:nowhere"], "nowhere"),
    "a missing root": (["--data", "cifar10"], "root"),
    "an unknown scheme": (["--scheme", "afine:w4a4"], "Did you mean 'affine'"),
    "an unknown suite": (["--suite", "quik"], "Did you mean 'quick'"),
    "an unknown condition": (["--condition", "pdg"], "Did you mean 'pgd'"),
    "eps on the 0-255 scale": (["--condition", "pgd:eps=8"], "0-255 scale, write 8/255 = 0.03137"),
    "a store in no folder": (["--store", "nowhere/runs.db"], "folder 'nowhere' does not exist"),
    "a store that is none": (["--store", "text.db"], "not a database"),
    "a report in no folder": (["--report", "nowhere/r.html", "--suite", "clean"], "nowhere"),
    "no examples": (["--limit", "0"], "--limit.*greater than"),
    "an unknown split": (["--split", "validation"], "validation"),
    "a batch of none": (["--batch-size", "0"], "--batch-size.*greater than"),
    "no images to calibrate on": (["--data", "folder:pictures", "--scheme", "w8a8"], "Pass --calibration-data"),
    "images the model cannot take": (
        ["--data", "folder:pictures"],
        "images of 3 channels: the model takes 1",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_mistake_gets_one_message_and_code_2(run, weights, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    state = load_file(weights)
    save_file({**state, "linear.weight": torch.zeros(3, 64)}, "shapes.safetensors")
    save_file({**state, "linear.bias": torch.full((10,), torch.nan)}, "nan.safetensors")
    torch.save(standard(), "object.pt")
    torch.save([1, 2], "list.pt")
    (tmp_path / "text.db").write_text("no database " * 1000)
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("RGB", (20, 20)).save(tmp_path / "pictures" / name / "1.png")
    more, words = BROKEN[case]
    defaults = {"--weights": str(weights), "--data": "digits", "--limit": "8", "--suite": "clean"}
    arguments = [a for k, v in {**defaults, **dict(zip(more[::2], more[1::2], strict=True))}.items() for a in (k, v)]
    code, _, err = run("evaluate", "digits_cnn", *arguments)
    assert code == 2, err
    assert re.search(words, err.replace("\n", " ")), err
    assert err.lower().count("error") == 1
    assert "Traceback" not in err


def shell(*arguments, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "bitproof.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, **options)


def test_no_traceback_leaves_the_process():
    result = shell("evaluate", "resnet2000", "--data", "digits")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: unknown model 'resnet2000'")
    assert result.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_table(weights, tmp_path, run, one_thread, monkeypatch):
    options = ("--scheme", "w4a4", "--suite", "quick", "--seed", "3")
    monkeypatch.setenv("COLUMNS", "200")
    code, whole, err = run(*evaluate(weights, *options, "--store", tmp_path / "whole.db"))
    assert code == 0, err
    store = tmp_path / "killed.db"
    command = [sys.executable, "-m", "bitproof.cli", *map(str, evaluate(weights, *options, "--store", store))]
    kills = 0
    for target in (2, 9):  # killed twice, at different places
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 90
        while process.poll() is None and time.monotonic() < deadline and count_cells(store) < target:
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills == 2
    kept = count_cells(store)
    last = shell(*evaluate(weights, *options, "--store", store))
    assert last.returncode == 0, last.stderr
    computed = re.search(r"(\d+) results computed, (\d+) found", last.stdout)
    assert computed is not None
    assert int(computed[2]) == kept
    assert tables(last.stdout) == tables(whole)


def count_cells(store) -> int:
    try:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as db:
            return db.execute("SELECT count(*) FROM records").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet
        return 0


def tables(output: str) -> str:
    return output.partition("results computed")[0].rsplit("\n", 1)[0]


def test_importing_bitproof_loads_no_torch():
    code = (
        "import sys, json, bitproof; print(json.dumps([m for m in ('torch', 'numpy', 'pandas') if m in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []


def test_windows_is_told_what_to_do():
    code = "import os; os.name = 'nt'; import bitproof"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        result.returncode == 1
        and "ImportError: bitproof runs on Linux and macOS; on Windows, use it inside WSL" in result.stderr
    )


def test_help_loads_no_torch():
    code = "import sys, bitproof.cli; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    for command in ([], ["evaluate"], ["demo"], ["quantize"], ["report"], ["export"], ["list"]):
        result = shell(*command, "--help")
        assert result.returncode == 0
        assert "Usage" in result.stdout


def test_train_keeps_its_files_and_a_second_call_does_nothing_more(run, weights, tmp_path):
    output = tmp_path / "runs" / "lsq"
    command = ["train", "qat:epochs=2,holdout=40", "digits_cnn", "--weights", weights, "--data", "digits"]
    command += ["--limit", 200, "--scheme", "lsq:w3a3", "-o", output]
    code, out, err = run(*command)
    assert code == 0
    assert "epoch 2/2" in err
    history = pd.read_csv(output / "history.csv")
    assert history.number.tolist() == [1, 2]
    assert history.holdout_accuracy.between(0.5, 1).all()
    assert out.startswith("number,loss,accuracy,balanced_accuracy,holdout_accuracy,best,seconds,alarm\n1,")
    assert (output / "history.png").read_bytes()[1:4] == b"PNG"
    last = (output / "last.safetensors").read_bytes()
    run(*command)
    assert (output / "last.safetensors").read_bytes() == last
    best = history.number[history.best].max()
    kept = [load_file(output / f"{name}.safetensors") for name in ("last", "best")]
    assert all(torch.equal(kept[1][name], value) for name, value in kept[0].items()) == (best == 2)
    code, out, _ = run(
        "evaluate", "digits_cnn", "--weights", output / "best.safetensors", "--data", "digits", "--suite", "clean"
    )
    assert code == 0
    assert "lsq w3a3" in out


def test_train_makes_float_models_too(run, tmp_path):
    code, _, err = run("train", "standard:epochs=1", "digits_cnn", "--data", "digits", "--limit", 80, "-o", tmp_path)
    assert code == 0
    assert "random" in err
    assert getattr(bp.load_model("digits_cnn", weights=tmp_path / "last.safetensors"), "scheme", None) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["standard", "digits_cnn", "--scheme", "w4a4"], "only quantization-aware recipes have a scheme"),
        (
            ["standard", "digits_cnn", "--teacher", "t.safetensors"],
            "only objectives that learn from a model",
        ),
        (["lsqq", "digits_cnn"], "unknown recipe 'lsqq'.*Did you mean 'lsq'"),
        (["qat:epoch=3", "digits_cnn"], "unknown field of qat 'epoch'.*'epochs'"),
        (["qat:milestones=0.3+x", "digits_cnn"], "milestones of qat is 'x'"),
    ],
)
def test_train_refuses(arguments, words, run, tmp_path):
    code, _, err = run("train", *arguments, "--data", "digits", "-o", tmp_path)
    assert code == 2
    assert re.search(words, err)


def test_train_refuses_a_folder_that_is_a_file(run, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = run("train", "qat", "digits_cnn", "--data", "digits", "-o", tmp_path / "file")
    assert code == 2
    assert "cannot make the folder" in err


def test_post_training_from_the_command_line(run, weights, tmp_path):
    start = ["quantize", "digits_cnn", "--weights", weights, "--data", "digits", "--calibration-count", 64]
    code, out, _ = run(*start, "--scheme", "w3a8", "--ptq", "brecq:iterations=20", "-o", tmp_path / "q.safetensors")
    assert code == 0
    assert out.startswith("affine w3a8 brecq iterations=20: ")
    assert "Quantized: 100.0% of the weights and 100.0% of the multiply-accumulates." in out
    opened = ["evaluate", "digits_cnn", "--weights", tmp_path / "q.safetensors", "--data", "digits", "--suite", "clean"]
    assert run(*opened)[0] == 0
    code, out, _ = run(
        *evaluate(weights, "--suite", "clean", "--scheme", "w4a4", "--ptq", "nearest", "--calibration-count", 64)
    )
    assert code == 0
    assert "affine w4a4 nearest" in out
    code, _, err = run(*start, "--ptq", "brec", "-o", tmp_path / "q.safetensors")
    assert (code, "Did you mean 'brecq'" in err) == (2, True)
    code, _, err = run(*start[:4], "--ptq", "brecq", "-o", tmp_path / "q.safetensors")
    assert (code, "brecq without --data" in err) == (2, True)
