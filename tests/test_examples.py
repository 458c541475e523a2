"""What lies in `examples/` runs, and what other tools read at the top of the repository says what they expect."""

import inspect
import json
import runpy
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

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
