"""The command line and Python say the same things: an option has an argument of its name, or a reason why not."""

import inspect
import json
import re
import subprocess
import sys

import pytest

import bitproof as bp
from bitproof.cli.app import COMMANDS
from bitproof.cli.run import words_of
from bitproof.errors import InputError
from bitproof.experiment import make, train

PYTHON = {
    "evaluate": (bp.evaluate, bp.load_model, bp.load_data, bp.quantize),
    "quantize": (bp.quantize, bp.load_model, bp.load_data, bp.save_model),
    "train": (train, bp.load_model, bp.load_data, bp.train.qat),
    "repair": (bp.repair, bp.load_model, bp.load_data, bp.save_model),
}

_CALIBRATION = "in Python, calibration images are data like any other: bp.quantize(model, scheme, data)"
OPTIONS = {
    "model": "the first argument of load_model, `name`",
    "condition": "repeated, so in the singular; `conditions` in Python",
    "analysis": "repeated, so in the singular; `analyses` in Python",
    "onnx": "bp.deploy.load_onnx and bp.deploy.export_onnx",
    "ptq": "bp.ptq.PostTraining, a setting that is called",
    "mixed": "bp.ptq.MixedSearch(agreement=), a setting that is called",
    "defence": "bp.defences.Squeezing() and others, settings that are called",
    "cost": "bp.ptq.MixedSearch(cost=)",
    "deployed_mean": "bp.models.normalized(session, mean, std)",
    "deployed_std": "bp.models.normalized(session, mean, std)",
    "twin": "bp.deploy.Twin(deployed, gradient_from=model)",
    "trust": "bp.deploy.load_deployed(file, trust=True)",
    "calibration_data": _CALIBRATION,
    "calibration_count": _CALIBRATION,
    "data": "the images that bp.quantize calibrates on",
    "scheme": "of a recipe, bp.train.qat(scheme=)",
    "input_size": "`size` of load_data",
    "class_list": "`classes` of load_data",
    "tag": "bp.tagged(model, key=value)",
    "metric": "bp.metrics.add_metric",
    "report": "Result.report(path)",
    "remedy": "repeated, so in the singular; `remedies` in Python",
    "unlabelled": "labelled=False",
    "dry_run": "bp.experiment.estimate",
    "quiet": "progress=False",
    "json": "Result.table() and Result.summary()",
    "output": "the path that save_model takes",
}
"""Options without an argument of their name, and what says the same in Python."""

_SETTINGS = "a field of the recipe as text, RECIPE:field=value"
ARGUMENTS = {
    "models": "MODEL, its --scheme copies and --onnx files",
    "conditions": "--condition",
    "calibration": "--data and --calibration-data",
    "progress": "--quiet",
    "on_record": "a function, for loggers in Python",
    "analyses": "--analysis",
    "name": "MODEL and --data",
    "root": "behind the name of the data, NAME:ROOT",
    "options": "behind the name of the data, NAME:ROOT,option=value",
    "path": "--output",
    "architecture": "MODEL",
    "remedies": "--remedy",
    "labelled": "--unlabelled",
    "tell": "told of what the command prints",
    "seed": "where there is none, it is that of random weights, which nobody quantizes",
    "teacher": "--teacher, weights of MODEL",
    "changes": _SETTINGS,
    "to": _SETTINGS,
}
"""Arguments without an option of their name, and what says the same on the command line."""


def names(function) -> set[str]:
    return set(inspect.signature(function).parameters)


@pytest.mark.parametrize("command", PYTHON)
def test_every_option_has_its_argument(command):
    known = set().union(*map(names, PYTHON[command]))
    for option in names(COMMANDS[command]) - known:
        assert option in OPTIONS, f"--{option} of {command} has no argument of its name, and no reason is given"


@pytest.mark.parametrize("command", PYTHON)
def test_every_argument_has_its_option(command):
    options = names(COMMANDS[command])
    for function in PYTHON[command]:
        for argument in names(function) - options:
            if command != "evaluate" and function in (bp.load_data,):
                continue  # the whole train split, or its first --limit ones
            assert argument in ARGUMENTS, f"{function.__name__}({argument}=) has no option, and no reason is given"


def test_no_reason_is_left_over():
    used = set().union(*(names(COMMANDS[command]) for command in PYTHON))
    given = set().union(*(names(function) for functions in PYTHON.values() for function in functions))
    assert OPTIONS.keys() <= used and ARGUMENTS.keys() - {"to"} <= given
    assert names(make)  # what is made beside a store is Python's alone: `train` writes into a folder


# ---- for scripts


def test_the_package_is_a_program():
    command = [sys.executable, "-m", "bitproof", "--version"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == f"bitproof {bp.__version__}\n"


EVALUATE = ["evaluate", "digits_cnn", "--data", "digits", "--limit", 8, "--suite", "clean"]


def test_json_is_all_that_is_printed_and_quiet_prints_nothing(run, tmp_path):
    code, out, _ = run(*EVALUATE, "--condition", "fgsm:eps=0.1", "--json")
    found = json.loads(out)
    assert code == 0 and [row["condition"] for row in found["table"]] == ["clean", "fgsm linf 25.5/255"]
    assert found["computed"] == 2 and {row["metric"] for row in found["summary"]} >= {"accuracy", "brier"}
    code, out, err = run(*EVALUATE, "--quiet", "--report", tmp_path / "r.html")
    assert (code, out) == (0, "") and "100%" not in err and (tmp_path / "r.html").exists()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(run, tmp_path):
    command = [*EVALUATE, "--condition", "pgd:eps=0.1,steps=5", "--store", tmp_path / "s.db"]
    code, out, _ = run(*command, "--dry-run")
    assert code == 0 and not (tmp_path / "s.db").exists()
    assert re.search(r"clean +8 passes", out) and re.search(r"float: pgd-5 linf 25.5/255 +88 passes", out)
    assert re.search(r"2 results to compute, 0 found in the store; 96 passes, about \d+ s at [\d.]+ ms each", out)
    run(*EVALUATE, "--store", tmp_path / "s.db")
    assert "1 results to compute, 1 found in the store; 88 passes" in run(*command, "--dry-run")[1]


def test_an_experiment_in_a_file_is_the_command_that_it_amounts_to(run, tmp_path):
    file = tmp_path / "experiment.toml"
    text = 'model = "digits_cnn"\ndata = "digits"\nlimit = 8\nsuite = "clean"\nindependent = true\ndiagnose = false\n'
    file.write_text(f'{text}condition = ["fgsm:eps=0.1", "noise:eps=0.1"]\nstore = "{tmp_path}/s.db"\n')
    expected = "evaluate digits_cnn --data digits --limit 8 --suite clean --independent --condition fgsm:eps=0.1"
    assert " ".join(words_of(file)).startswith(expected)
    code, out, err = run("run", file)
    assert code == 0 and "3 results computed" in out and f"bitproof {expected}" in err
    assert bp.Result.load(tmp_path / "s.db").environments[0]["command"][1:4] == ["evaluate", "digits_cnn", "--data"]
    for broken, words in (
        ("model = ", "cannot be read"),
        ('data = "digits"', "says no model"),
        ('command = "demo"', "unknown command of an experiment 'demo'"),
        ('model = "a"\n[table]\nx = 1', "table in .* is a dict"),
    ):
        file.write_text(broken)
        with pytest.raises(InputError, match=words):
            words_of(file)
    file.write_text('model = "digits_cnn"\ndatta = "digits"')
    code, _, err = run("run", file)
    assert code == 2 and "--datta" in err


def test_completion_is_offered(run):
    code, out, _ = run("--help")
    assert code == 0 and "--install-completion" in out
