"""The command line and Python say the same things: an option has an argument of its name, or a reason why not."""

import importlib
import inspect
import json
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import torch
import typer
from typer.main import get_command

import bitproof as bp
from bitproof.cli.app import COMMANDS, app
from bitproof.cli.examples import EXAMPLES
from bitproof.cli.options import GROUPS
from bitproof.cli.run import words_of
from bitproof.errors import InputError
from bitproof.experiment import make, train
from bitproof.subjects import fingerprint

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
    "calibration_noise": "bp.quant.UnderNoise(images=, sigma=)",
    "universal": "repeated; bitproof.conditions.UniversalPerturbation() and UniversalPatch(), settings that are called",
    "surrogate": "bp.train.Surrogate(), a setting that is called",
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


def test_json_has_what_analyses_and_defences_found(run):
    code, out, err = run(*EVALUATE, "--analysis", "lipschitz", "--defence", "squeezing:detector=label", "--json")
    assert code == 0, err
    found = json.loads(out)
    explained = found["explanations"][0]
    assert explained["analysis"] == "lipschitz" and explained["model"] == "float"
    assert explained["findings"] and {row["layer"] for row in explained["table"]}
    row = found["defences"][0]
    assert row["condition"] == "clean" and 0 <= row["answered"] <= 1


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
    text = 'model = "digits_cnn"\ndata = "digits"\nlimit = 8\nbatch_size = 4\nsuite = "clean"\n'
    text += "independent = true\ndiagnose = false\n"
    file.write_text(f'{text}condition = ["fgsm:eps=0.1", "noise:eps=0.1"]\nstore = "{tmp_path}/s.db"\n')
    expected = "evaluate digits_cnn --data digits --limit 8 --batch-size 4 --suite clean --independent"
    assert " ".join(words_of(file)).startswith(f"{expected} --condition fgsm:eps=0.1 --condition noise:eps=0.1")
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


# ---- randomness


def _callables():
    """Every public function and callable setting, by its name."""
    for module in ("", *(name for name in bp.__all__ if name.islower())):
        home = importlib.import_module(f"bitproof.{module}".rstrip(".")) if f"bitproof.{module}" in sys.modules else bp
        for name in getattr(home, "__all__", ()):
            thing = getattr(home, name)
            call = vars(thing).get("__call__") if inspect.isclass(thing) else thing
            if inspect.isfunction(call):
                yield f"{home.__name__}.{name}", call


def test_randomness_has_a_seed_of_0_everywhere():
    found = {name: inspect.signature(call).parameters for name, call in _callables()}
    seeded = [name for name, parameters in found.items() if "seed" in parameters]
    assert len(seeded) >= 12
    for name, parameters in found.items():
        if "rng" in parameters and parameters["rng"].default is None:
            assert "seed" in parameters, f"{name} takes an rng that may be left out, and no seed"
        if "seed" in parameters:
            assert parameters["seed"].default == 0, name
    of_runs = (bp.ptq.PostTraining, bp.ptq.Reconstruction, bp.train.Recipe, bp.train.Surrogate, bp.implants.Engine)
    for kind in of_runs:
        assert inspect.signature(kind.__call__).parameters["seed"].default == 0, kind


WITHOUT_SEED = {
    "demo": "shows one run, the same for everybody",
    "gallery": "a fixed set of models, each of a seed of its own",
    "run": "the file says it",
    **dict.fromkeys(("report", "leaderboard", "submit", "check", "export", "merge", "diff", "list"), "draws nothing"),
}
"""Commands without --seed, and why."""


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_that_draw_have_a_seed(command):
    parameters = inspect.signature(COMMANDS[command]).parameters
    assert ("seed" in parameters) != (command in WITHOUT_SEED)
    assert command in WITHOUT_SEED or parameters["seed"].default == 0


def test_a_seed_chooses_what_is_learned():
    """Roundings, a training's order and the draws of stochastic quantizers; a seed is a short way to say an rng."""
    data, network = bp.load_data("digits", split="train", limit=96), bp.load_model("digits_cnn")
    learned = bp.ptq.PostTraining(scheme=bp.Scheme.parse("w2a32"), rounding="adaround", iterations=40)
    trained = bp.train.standard(epochs=1, batch_size=8)
    for how in (learned, trained):
        one, same, other = how(network, data), how(network, data, rng=bp.Rng.of(0)), how(network, data, seed=1)
        assert fingerprint(one) == fingerprint(same) != fingerprint(other)
        with pytest.raises(InputError, match="seed is 1 beside an rng"):
            how(network, data, seed=1, rng=bp.Rng.of(1))
        with pytest.raises(InputError, match="a seed has 64 bits"):
            how(network, data, seed=2**63)
    with pytest.raises(InputError, match="seed is a float: a seed is a whole number"):
        inspect.unwrap(bp.Rng.of)(1.5)  # without the tests' checks of types
    stochastic = "binaryconnect(w1a32,stochastic=true)"
    drawn = [bp.quantize(network, stochastic, seed=seed).train() for seed in (0, 0, 1)]
    first, again, another = (model(data.images(range(2))) for model in drawn)
    assert torch.equal(first, again) and not torch.equal(first, another)


def test_the_seed_of_a_command_reaches_what_it_learns(run, weights, tmp_path):
    """`quantize --seed`, and the pipeline of `evaluate`."""
    command = ["quantize", "digits_cnn", "--weights", weights, "--data", "digits", "--calibration-count", 96]
    command += ["--scheme", "w2a32", "--ptq", "adaround:iterations=40"]
    for seed in (0, 1):
        code, _, err = run(*command, "--seed", seed, "-o", tmp_path / f"{seed}.safetensors")
        assert code == 0, err
    files = [(tmp_path / f"{seed}.safetensors").read_bytes() for seed in (0, 1)]
    assert files[0] != files[1]
    seeds = []
    for seed in (0, 1):
        store = tmp_path / f"{seed}.db"
        code, _, err = run(
            *("evaluate", "digits_cnn", "--weights", weights, "--data", "digits", "--limit", 8, "--suite", "clean"),
            *("--scheme", "w2a32", "--ptq", "adaround:iterations=40", "--calibration-count", 96, "--seed", seed),
            *("--store", store),
        )
        assert code == 0, err
        with bp.Store(store, readonly=True) as opened:
            seeds.append({cell.model.name: cell.model.fingerprint for cell in opened.query()})
    name = next(name for name in seeds[0] if name != "float")
    assert seeds[0]["float"] == seeds[1]["float"] and seeds[0][name] != seeds[1][name]


# ---- help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_a_group_and_the_help_ends_with_an_example(name, run, monkeypatch):
    program: Any = get_command(app)
    command = program.commands[name]
    context = typer.Context(command)
    options = [p for p in command.get_params(context) if p.param_type_name == "option" and not p.hidden]
    for param in options:
        assert param.rich_help_panel in GROUPS, f"--{param.name} of {name} is in no group"
        assert param.help and len(param.help) <= 110, param.name
    places = [GROUPS.index(param.rich_help_panel) for param in options]
    assert places == sorted(places)
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = run(name, "--help")
    assert code == 0 and " Options " not in out and f"For example: {EXAMPLES[name]}" in out
    words = shlex.split(EXAMPLES[name])
    assert words[:2] == ["bitproof", name]
    command.make_context(name, words[2:])  # it is taken
    assert len(out.splitlines()) <= 70


def test_defaults_in_words_are_shown(run, monkeypatch):
    """As markup they were taken for styles, and shown nowhere."""
    monkeypatch.setenv("COLUMNS", "200")
    defaults = {"evaluate": "quick", "quantize": "w8a8", "audit": "six common ones", "check": "the float one"}
    for command, words in defaults.items():
        assert f"default: ({words})" in run(command, "--help")[1]
