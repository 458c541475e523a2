"""What lies in `examples/` runs, and what other tools read at the top of the repository says what they expect."""

import inspect
import json
import runpy
import shlex
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import bitproof as bp
from bitproof.cli.app import COMMANDS

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    book = json.loads((EXAMPLES / "quantized_and_robust.ipynb").read_text())
    assert book["nbformat"] == 4 and not any(cell.get("outputs") for cell in book["cells"])
    world: dict[str, object] = {}
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), world)
    assert {path.name for path in tmp_path.iterdir()} >= {"report.html", "accuracy.pdf", "notebook.db"}


def test_loggers_are_told_of_what_is_new():
    loggers, seen = runpy.run_path(str(EXAMPLES / "loggers.py")), []

    def noted(*args, **options):
        seen.append((args, options))

    tools = {
        "tensorboard": SimpleNamespace(add_scalar=noted),
        "mlflow_run": SimpleNamespace(log_metrics=noted),
        "wandb_run": SimpleNamespace(log=noted),
    }
    with bp.Store() as store:
        for limit, (name, tool) in enumerate(tools.items(), 8):
            data, model = bp.load_data("digits", limit=limit), bp.load_model("digits_cnn")
            how = {"conditions": ["fgsm:eps=1/255"], "store": store, "progress": False}
            bp.evaluate({"net, 8": model}, data, on_record=loggers[name](tool), **how)
            bp.evaluate({"net, 8": model}, data, on_record=loggers[name](tool), **how)  # nothing is new
            source = inspect.getsource(loggers[name])
            assert len(source.splitlines()) <= 15
    assert len(seen) == 6
    assert seen[0][0][0] == "clean/net, 8" and seen[0][0][2] == 32 and 0 <= seen[0][0][1] <= 1
    assert list(seen[3][0][0]) == ["net_ 8 fgsm linf 1/255"] and seen[3][1] == {"step": 32}
    assert seen[5][0][0]["model"] == "net, 8" and seen[5][1] == {"step": 1}


def test_the_action_and_the_hook_name_commands_that_there_are():
    yaml = pytest.importorskip("yaml")
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert action["runs"]["using"] == "composite" and {"id", "name", "entry", "language", "files"} <= hook.keys()
    steps = [step["run"] for step in action["runs"]["steps"]]
    assert not any("${{" in run for run in steps), "what somebody else may choose is never code"
    lines = [line for run in (*steps, hook["entry"]) for line in run.splitlines() if line.startswith("bitproof ")]
    assert len(lines) == 3
    for words in map(shlex.split, lines):
        options = {f"--{name.replace('_', '-')}" for name in inspect.signature(COMMANDS[words[1]]).parameters}
        assert {word for word in words if word.startswith("--")} <= options, words


def test_the_first_board_is_built(tmp_path, monkeypatch):
    """On images that were made up and untrained weights: its models, all on one board, found again the second time."""
    rng, cifar, weights = np.random.default_rng(0), tmp_path / "cifar", tmp_path / "weights"
    cifar.mkdir(), weights.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        labels = np.arange(20)[:, None] % 10
        records = np.concatenate([labels, 20 * labels + rng.integers(0, 20, (20, 3072))], 1).astype(np.uint8)
        (cifar / f"{name}.bin").write_bytes(records.tobytes())
    (cifar / "batches.meta.txt").write_text("\n".join(f"class{i}" for i in range(10)))
    for i in range(4):
        folder = tmp_path / "imagenet" / "val" / ("n01440764", "n01443537")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(folder / f"{i}.JPEG")
    files = {
        "resnet20": "cifar10_resnet20",
        "resnet4b": "cifar10_resnet4b_adv2",
        "torchvision:mobilenet_v2": "imagenet_mobilenet_v2",
        "torchvision:squeezenet1_0": "imagenet_squeezenet1_0",
    }
    for name, file in files.items():
        bp.save_model(bp.load_model(name), weights / f"{file}.safetensors", architecture=name)
    monkeypatch.chdir(tmp_path)
    script = runpy.run_path(str(EXAMPLES / "first_board.py"))
    main = script["main"]
    main.__globals__.update(BITS=(4,), ATTACKS=("fgsm:eps=2/255",), CORRUPTIONS=(), LOOKS={})
    main(cifar, tmp_path / "imagenet", weights, "10", "100")
    rows = json.loads((tmp_path / "site" / "board.json").read_text())
    assert {row["threat"] for row in rows} == {"clean images", "linf 2/255"}
    ranked = [(row["architecture"], row["model"].split(" ", 1)[-1]) for row in rows if row["threat"] == "clean images"]
    assert Counter(network for network, _ in ranked) == {
        "resnet20": 6,
        "resnet8": 3,
        "resnet4b": 4,
        "torchvision:mobilenet_v2": 2,
        "torchvision:squeezenet1_0": 2,
    }
    assert ("resnet20", "DQ w32a4") in ranked and ("resnet8", "QAT w4a4") in ranked
